"""Compatibility with Klein: its endpoints, its bound instances, and ``IKleinRequest``.

Klein's private names, except inherited ones, are used only here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import iscoroutine
from types import MethodType
from typing import Any

from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.internet.defer import ensureDeferred
from twisted.python.components import registerAdapter
from werkzeug.routing import MapAdapter
from zope.interface import implementer

from x121.http.request import Request
from x121.web.operations import Operation

__all__ = ["Endpoint", "Handler", "bound_handler", "instance_of", "refuse_error_handlers"]

Handler = Callable[..., Any]
"""Called with a request, and the route's arguments by name."""


class Endpoint:
    """An entry of ``Klein.endpoints``, called as ``endpoint(instance, request, ...)``.

    It calls ``handler``, which has its instance already if ``is_bound``.  ``segment_count`` is the
    number of segments in its route.  ``operation`` describes its inputs and its result, None for an
    undocumented one.  ``owner`` is the feature that it belongs to.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        segment_count: int,
        operation: Operation | None = None,
        owner: object = None,
        *,
        is_bound: bool = False,
    ) -> None:
        self.segment_count = segment_count
        self.operation = operation
        self.owner = owner
        self.__name__ = self.__qualname__ = name
        self.__doc__ = handler.__doc__
        self.__original__ = handler  # for Klein's originalName()
        self._handler = handler
        self._is_bound = is_bound

    def __call__(self, instance: object, /, *args: Any, **kwargs: Any) -> Any:
        """Return the handler's result, a coroutine as a Deferred, as Klein's endpoints do."""
        result = self.on(instance)(*args, **kwargs)
        return ensureDeferred(result) if iscoroutine(result) else result

    def on(self, instance: object) -> Handler:
        """Return the handler as a method of ``instance``, or as it is if that is None.

        Klein's ``bindable`` handlers get None as their instance.
        """
        if self._is_bound:
            return self._handler
        if instance is not None:
            return MethodType(self._handler, instance)
        bindable = getattr(self._handler, "__klein_bound__", False)
        return partial(self._handler, None) if bindable else self._handler


def refuse_error_handlers(application: Klein, where: str) -> None:
    """Raise :class:`ValueError` for a Klein application with error handlers."""
    if application._error_handlers:
        raise ValueError(
            f"{where}: error handlers are not called, because they would apply to all routers:"
            " raise x121.errors.AppError instead"
        )


def instance_of(application: Klein) -> object | None:
    """Return the instance that a Klein application is bound to, or None."""
    return application._instance


def bound_handler(application: Klein, endpoint: str) -> Handler:
    """Return the handler of an endpoint, on the instance that ``application`` is bound to."""
    if type(application).execute_endpoint is not Klein.execute_endpoint:
        return partial(application.execute_endpoint, endpoint)  # overridden in a subclass
    klein_endpoint: Any = application.endpoints[endpoint]
    if isinstance(klein_endpoint, Endpoint):
        return klein_endpoint.on(application._instance)
    return partial(klein_endpoint, application._instance)


@implementer(IKleinRequest)
class _KleinRequest:
    """Klein's view of a request, ``IKleinRequest(request)``: URLs of other routes.

    ``branch_segments`` are the path segments after a route with ``branch=True``.
    """

    def __init__(self, request: Request) -> None:
        self.branch_segments = [""]
        self._request = request
        self._mapper: MapAdapter | None = None

    @property
    def mapper(self) -> MapAdapter:
        """The routes, bound to the host name in the request."""
        if self._mapper is None:
            host = self._request.getHeader(b"Host") or b""
            scheme = "https" if self._request.isSecure() else "http"
            self._mapper = self._request.url_map.map.bind(host.decode(), url_scheme=scheme)
        return self._mapper

    @mapper.setter
    def mapper(self, mapper: MapAdapter) -> None:
        self._mapper = mapper

    def url_for(self, endpoint: str, *args: Any, **kwargs: Any) -> str:
        """Return the path of a route, or with ``force_external`` its URL.

        See :meth:`werkzeug.routing.MapAdapter.build`.
        """
        return self.mapper.build(endpoint, *args, **kwargs)


registerAdapter(_KleinRequest, Request, IKleinRequest)
