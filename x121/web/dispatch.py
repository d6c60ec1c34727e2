"""Dispatch: finds the handler of a request, and calls it.

Does what Klein's own resource does, in the same order, but prepares the map once instead of for
every request, and makes no Deferred for a handler that doesn't wait.  Other differences:

- :mod:`x121.middleware.errors` responds to all failures, in one form; an application with Klein
  error handlers is rejected.
- Paths and methods are matched exactly (:mod:`x121.web.route_table`).
- A missing or unsupported result, or one after the request was finished, raises an error that
  says so.  A template is sent when it is complete.
- A redirect has a path, without a host.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any, NamedTuple

from klein import Klein
from twisted.web.resource import Resource
from werkzeug.exceptions import HTTPException

from x121.core.coroutines import run_eagerly
from x121.http.request import Request
from x121.web.klein_compat import Handler, bound_handler, refuse_error_handlers
from x121.web.rendering import respond, response_to_exception
from x121.web.route_table import RouteTable
from x121.web.typed import BoundEndpoint, bound_endpoint

__all__ = ["RoutingResource", "Target"]


class Target(NamedTuple):
    """The handler of a route, the number of segments in the route, and its typed endpoint.

    ``endpoint`` is None for a handler that needs Twisted's request.
    """

    handler: Handler
    segments: int
    endpoint: BoundEndpoint | None


class RoutingResource(Resource):
    """Serves the routes that ``application`` has now, as the root resource of a site.

    ``routes`` is its table.  Raises :class:`ValueError` if it has error handlers, which would never
    be called.
    """

    isLeaf = True

    def __init__(self, application: Klein) -> None:
        super().__init__()
        refuse_error_handlers(application, "the application")
        endpoints: dict[str, Any] = application.endpoints
        targets = {
            name: _target(bound_handler(application, name), endpoint.segment_count)
            for name, endpoint in endpoints.items()
        }
        self.routes = RouteTable(application.url_map, targets)

    def render(self, request: Request) -> bytes | int:
        """Call the request's handler; return the response's body, or ``NOT_DONE_YET``."""
        request.url_map = self.routes.adapter
        try:
            found, request.route = request.route, None  # a handler may return another resource
            target, arguments = found or self.routes.find(request.path, request.method)
            handler, segments, _ = target
            request.consume(segments)
            result = handler(request, **arguments)
            if type(result) is CoroutineType:
                result = run_eagerly(result)
        except HTTPException as exception:
            result = response_to_exception(exception, request)
        return respond(result, request)


def _target(handler: Handler, segments: int) -> Target:
    return Target(handler, segments, bound_endpoint(handler))
