"""Routes: Klein's, nested into one werkzeug map so that a request is matched once.

A feature is a class with a ``router``; its methods are Klein handlers (plain, ``async def``
or returning a Deferred) and its state is ``self``::

    class Projects:
        router = Router()

        def __init__(self, state: AppState) -> None:
            self._state = state

        @router.route("/<int:project_id>")
        async def show(self, request: IRequest, project_id: int) -> bytes: ...

    Router().nest("/projects", Projects(state).router)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.routing import IntegerConverter, Map, RequestRedirect, Rule

from x121.errors import AppError, MethodNotAllowed, NotFound, error_for_status
from x121.http.head import METHODS
from x121.http.request import Request

__all__ = ["Router", "root"]

_NO_ROUTE = "There is nothing at this path"

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Router(Klein):
    """A Klein application that other ones can be nested into.

    Routes answer GET, and with it HEAD, unless ``methods`` says otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        # A path is what it is: two slashes are not one, and nobody is redirected for them.
        self._url_map = Map(merge_slashes=False, converters={"int": _BigInt})

    def __get__(self, instance: Any, owner: object) -> Router:
        """Return the router whose handlers are called on ``instance``."""
        bound = super().__get__(instance, owner)
        assert isinstance(bound, Router)
        return bound

    def route(self, url: str, *args: Any, **kwargs: Any) -> Callable[[Handler], Handler]:
        """Return a decorator that serves ``url``; see :meth:`klein.Klein.route`."""
        kwargs.setdefault("methods", ["GET"])
        decorate: Callable[[Handler], Handler] = super().route(url, *args, **kwargs)
        return decorate

    def nest(self, prefix: str, router: Klein) -> Router:
        """Serve the routes of ``router`` below ``prefix`` and return ``self``.

        Its route ``/`` is ``prefix`` itself.  Raises :class:`ValueError` for a prefix that
        isn't a path, and for a router with error handlers: they would be everybody's, so a
        feature raises :class:`~x121.errors.AppError` instead.
        """
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"a prefix is like /projects, not {prefix!r}")
        if router._error_handlers:
            raise ValueError(f"{prefix}: a nested router can't have error handlers of its own")
        for rule in router.url_map.iter_rules():
            endpoint = f"{prefix[1:]}.{rule.endpoint}"
            if endpoint in self._endpoints:
                raise ValueError(f"{prefix}: there already is a route named {endpoint}")
            nested = rule.empty()
            nested.rule = prefix + ("" if rule.rule == "/" else rule.rule)
            nested.endpoint = endpoint
            self._url_map.add(nested)
            self._endpoints[endpoint] = _bound(router, rule, prefix)
        return self


class _BigInt(IntegerConverter):
    """``<int:name>``: what a ``BIGINT`` can hold.  Anything else matches no route: 404."""

    regex = "[0-9]{1,19}"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max": 2**63 - 1, **kwargs})


def _bound(router: Klein, rule: Rule, prefix: str) -> Callable[..., Any]:
    """Return an endpoint that calls the handler on the instance that ``router`` is bound to."""
    handler: Any = router.endpoints[rule.endpoint]
    instance = router._instance

    def endpoint(_: object, request: IRequest, **arguments: Any) -> Any:
        return handler(instance, request, **arguments)

    # Klein moves this many segments from postpath to prepath.
    endpoint.segment_count = handler.segment_count + prefix.count("/")  # type: ignore[attr-defined]
    return endpoint


class _Root(Router):
    """The one application that is served: every request passes through here, and no router
    nested in it does."""

    def execute_endpoint(self, endpoint: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the handler, note what it waits for, and size up what it returns."""
        result = super().execute_endpoint(endpoint, request, *args, **kwargs)
        if isinstance(result, Deferred):
            request.running = result
            return result.addCallbacks(
                _sized, _failed, callbackArgs=(request,), errbackArgs=(request,)
            )
        return _sized(result, request)

    def resource(self) -> IResource:  # type: ignore[override]  # Klein promises its own
        """Return the resource to serve."""
        return _Leaf(super().resource())


class _Leaf(Resource):
    """Klein's resource, and the one target that is no path (RFC 9110 section 9.3.7)."""

    isLeaf = True

    def __init__(self, klein: IResource) -> None:
        super().__init__()
        self._klein = klein

    def render(self, request: Request) -> bytes | int:
        """Answer ``OPTIONS *``; leave every path to Klein."""
        if request.path == b"*":
            request.setHeader(b"Allow", ", ".join(METHODS))
            request.setResponseCode(204)
            return b""
        if request.path.startswith(b"//"):
            # Klein would drop the first slash, and serve /x under a name that a proxy's rule
            # for /x doesn't know.
            raise NotFound(_NO_ROUTE)
        rendered: bytes | int = self._klein.render(request)
        return rendered


def root(router: Router) -> _Root:
    """Return ``router`` as the application to serve."""
    served = _Root()
    served._url_map = router._url_map
    served._endpoints = router._endpoints
    served.handle_errors(HTTPException)(_answer_http_exception)
    return served


def _sized(result: Any, request: Request) -> Any:
    """Announce the length of a body that is whole, which saves it from being chunked."""
    if request.is_over:
        return None  # the handler outlived its request: nobody is left to tell
    if isinstance(result, str):
        result = result.encode()
    if isinstance(result, bytes) and not request.startedWriting:
        request.setHeader(b"Content-Length", b"%d" % len(result))
    return result


def _failed(failure: Failure, request: Request) -> Failure | None:
    """Report a failure after the request's end here; Klein would, without the request's id."""
    if not request.is_over:
        return failure
    request.processingFailed(failure)
    return None


def _answer_http_exception(request: Any, failure: Failure) -> bytes:
    """Return the answer to what werkzeug raises: no route matches, or a handler aborts.

    Klein writes what is returned here, and finishes the request.
    """
    exception: Any = failure.value
    if isinstance(exception, RequestRedirect):
        request.setResponseCode(exception.code)
        request.setHeader(b"Location", _location(request, exception))
        request.setHeader(b"Content-Length", b"0")
        return b""
    error = _translate(exception)
    if isinstance(error, MethodNotAllowed) and request.method == b"OPTIONS":
        request.setResponseCode(204)
        request.setHeader(b"Allow", error.headers["Allow"])
        return b""
    body: bytes = request.prepare_error(error)
    return body


def _translate(exception: HTTPException) -> AppError:
    if isinstance(exception, WerkzeugMethodNotAllowed):
        allow = sorted({*(exception.valid_methods or ()), "OPTIONS"})
        return MethodNotAllowed("This path has no such method", allow=allow)
    if exception.code == 404:
        return NotFound(_NO_ROUTE)
    return error_for_status(exception.code or 500)


def _location(request: Request, redirect: RequestRedirect) -> bytes:
    """Return where to go on this host, under whatever name and port the client knows it."""
    _, mark, query = request.uri.partition(b"?")
    return urlsplit(redirect.new_url).path.encode() + mark + query
