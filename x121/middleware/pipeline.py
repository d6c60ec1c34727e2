"""Pipeline: the shortest way from a parsed request to its written response.

It applies the rules of all middleware, in their order, to an exchange.  The middleware themselves
do the same for requests that need Twisted's ``Request``: those of Klein handlers, of resources, and
of handlers that take the request.
"""

from __future__ import annotations

from contextvars import Context
from types import CoroutineType
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import NotFound as NoSuchRoute

from x121.core.coroutines import run_eagerly
from x121.errors import NotFound
from x121.http.exchange import Exchange, Result
from x121.http.response import JSON_FIELDS, EncodedResponse, error_response, field_lines
from x121.middleware.access_log import AccessLog
from x121.middleware.base import Middleware
from x121.middleware.body_limit import BodyLimit
from x121.middleware.cors import Cors
from x121.middleware.cross_site import CrossSite
from x121.middleware.errors import Errors
from x121.middleware.request_id import RequestId
from x121.middleware.server_names import ServerNames
from x121.middleware.timeout import Timeout
from x121.web.dispatch import RoutingResource
from x121.web.rendering import NO_ROUTE, response_to_exception

__all__ = ["Pipeline", "make_pipeline"]


class Pipeline:
    """Serves exchanges with ``routes``, and with the rules of the middleware around it."""

    def __init__(self, routes: RoutingResource, stack: dict[type, Any]) -> None:
        self._find = routes.routes.find
        self._identify = stack[RequestId].identify
        self._access_log: AccessLog = stack[AccessLog]
        self._cors: Cors = stack[Cors]
        self._errors: Errors = stack[Errors]
        self._checks = [stack[kind].check for kind in (ServerNames, CrossSite) if kind in stack]
        self._deadlines = stack[Timeout].deadlines
        self._clock = self._access_log.clock

    def accepts(self, exchange: Exchange) -> bool:
        """Find the endpoint of ``exchange``; return False if it needs Twisted's request."""
        if exchange.method == b"OPTIONS":
            return False  # may be a preflight
        try:
            target, arguments = self._find(exchange.path, exchange.method)
        except NoSuchRoute:
            exchange.endpoint, exchange.arguments = _return, _NOT_FOUND
            return True
        except Exception as exception:
            exchange.endpoint, exchange.arguments = _raise, exception
            return True
        if target.endpoint is None:
            exchange.route = target, arguments
            return False
        exchange.endpoint, exchange.arguments = target.endpoint, dict(arguments)
        return True

    def serve(self, exchange: Exchange) -> None:
        """Respond to ``exchange``, now or later."""
        exchange.begun = self._clock.seconds()
        context = Context()
        try:
            result = context.run(self._call, exchange)
            if type(result) is CoroutineType:
                result = run_eagerly(result, context)
        except BaseException as error:
            result = self._failure_response(error, exchange)
        if type(result) is EncodedResponse:
            self.respond(exchange, result)
        else:
            self._wait(exchange, result)

    def _call(self, exchange: Exchange) -> Result:
        self._identify(exchange)
        for check in self._checks:
            check(exchange)
        return exchange.endpoint(exchange, exchange.arguments)

    def _wait(self, exchange: Exchange, result: Deferred[EncodedResponse]) -> None:
        exchange.running = result
        exchange.is_waiting = True
        self._deadlines.start(exchange)
        result.addBoth(self._arrived, exchange)

    def _arrived(self, result: EncodedResponse | Failure, exchange: Exchange) -> None:
        """Respond with the result of a handler, unless its time was over or its client left."""
        exchange.running = None
        if isinstance(result, Failure):
            if exchange.is_finished and result.check(CancelledError):
                return
            result = self._failure_response(result, exchange)
        if not exchange.is_finished:
            self.respond(exchange, result)

    def _failure_response(
        self, failure: BaseException | Failure, exchange: Exchange
    ) -> EncodedResponse:
        exception = failure.value if isinstance(failure, Failure) else failure
        try:
            if isinstance(exception, HTTPException):
                return response_to_exception(exception, exchange)
            return error_response(self._errors.error_for(failure, exchange))
        except Exception as error:  # also one for an error that can't be sent as it is
            return error_response(self._errors.error_for(error, exchange))

    def respond(self, exchange: Exchange, response: EncodedResponse) -> None:
        """Send ``response`` with the fields that middleware add to it."""
        code, body, given = response
        if given is not JSON_FIELDS and code >= 400:
            content_type = given.get(b"Content-Type")
            error = self._errors.foreign_page_error(code, content_type, given.items(), exchange)
            if error is not None:
                code, body, given = error_response(error)
        origin = exchange.requestHeaders.get(b"Origin")
        request_id = exchange.request_id.encode("ascii")
        if given is JSON_FIELDS and code not in NO_BODY_CODES:
            lines = _JSON_LINES % (len(body), self._cors.lines_for_json(origin), request_id)
        else:
            fields = dict(given)
            has_length = exchange.method == b"HEAD" and b"Content-Length" in fields
            if code not in NO_BODY_CODES and not has_length:
                fields[b"Content-Length"] = b"%d" % len(body)
            fields.update(self._cors.fields_for(origin, fields.get))
            fields[b"X-Request-Id"] = request_id
            lines = field_lines(fields.items())
        exchange.send(code, lines, body)

    def close(self, exchange: Exchange) -> None:
        """Note that ``exchange`` is finished: responded to, or left by its client."""
        if exchange.is_waiting:
            self._deadlines.stop(exchange)
        self._access_log.log(exchange, exchange.begun)


# The same fields, in the same order, as the other responses have.
_JSON_LINES = field_lines(JSON_FIELDS.items()) + b"Content-Length: %d\r\n%bX-Request-Id: %b\r\n"

_NOT_FOUND = error_response(NotFound(NO_ROUTE))


def _return(_: Exchange, response: EncodedResponse) -> EncodedResponse:
    return response


def _raise(_: Exchange, exception: Exception) -> NoReturn:
    raise exception


def make_pipeline(resource: IResource) -> Pipeline | None:
    """Return the pipeline that does the same as ``resource``, which is from ``build_stack``.

    Returns None if there is other middleware around the routes, which needs Twisted's request.
    """
    stack: dict[type, Any] = {}
    inner: Any = resource
    while type(inner) in _KNOWN:
        stack[type(inner)] = inner
        inner = inner.inner
    is_known = isinstance(inner, RoutingResource) and RequestId in stack
    return Pipeline(inner, stack) if is_known else None


_KNOWN: frozenset[type[Middleware]] = frozenset(
    (RequestId, AccessLog, Cors, Errors, ServerNames, CrossSite, BodyLimit, Timeout)
)
