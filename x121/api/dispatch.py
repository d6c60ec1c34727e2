"""From a request to its handler, and from what that returns to the answer.

Does what Klein's own resource does, in the same order, but binds the map once instead of for
every request, makes no Deferred for a handler that has its answer ready, and leaves failures
to whoever answers failures (:mod:`x121.middleware.errors`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from klein import Klein, Response
from klein.interfaces import IKleinRequest
from twisted.internet.defer import Deferred
from twisted.python.components import registerAdapter
from twisted.web.iweb import IRenderable
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import Tag, flattenString
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.routing import MapAdapter, RequestRedirect
from zope.interface import implementer

from x121.errors import AppError, MethodNotAllowed, NotFound, error_for_status
from x121.http.head import METHODS
from x121.http.request import Request

__all__ = ["Dispatch"]

_NO_ROUTE = "There is nothing at this path"


class Dispatch(Resource):
    """Serves the routes of ``application``.

    Raises :class:`ValueError` for one with error handlers, which would never be called.
    """

    isLeaf = True

    def __init__(self, application: Klein) -> None:
        super().__init__()
        if application._error_handlers:
            raise ValueError("error handlers are not called: raise x121.errors.AppError instead")
        self._application = application
        self._map = application.url_map.bind("")
        # werkzeug prefers a rule without arguments, and of two that are alike the first; so
        # these need not be looked for in the map.
        self._static = {
            (rule.rule.encode(), method.encode()): rule.endpoint
            for rule in reversed(list(application.url_map.iter_rules()))
            if not rule.arguments and rule.redirect_to is None
            for method in rule.methods or ()
        }

    def render(self, request: Request) -> bytes | int:
        """Call the request's handler; return its answer, or ``NOT_DONE_YET``."""
        request.url_map = self._map
        try:
            endpoint, arguments = self._match(request)
            result = self._call(endpoint, request, arguments)
        except HTTPException as exception:
            return _answer_exception(exception, request)
        if request.is_over:  # the handler wrote and finished by itself
            return NOT_DONE_YET
        return self._answer(result, request)

    def _match(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Return the route's endpoint and arguments; raise what werkzeug raises if none fits."""
        endpoint = self._static.get((request.path, request.method))
        if endpoint is not None:
            return endpoint, {}
        if request.path == b"*":  # the server as a whole (RFC 9110 section 9.3.7)
            raise WerkzeugMethodNotAllowed(METHODS[:-1])
        path = "/" + "/".join(part.decode() for part in request.postpath)
        method = request.method.decode("latin-1")
        # //x isn't /x, nor is a/b one segment, although werkzeug takes them for it: a proxy's
        # rule for the one doesn't know the other.
        if path.startswith("//") or any(b"/" in part for part in request.postpath):
            raise NotFound(_NO_ROUTE)
        # It also takes get for GET; methods are case-sensitive (RFC 9110 section 9.1).
        known = method if method == method.upper() else f"({method})"
        rule, arguments = self._map.match(path, known, return_rule=True)
        return rule.endpoint, dict(arguments)

    def _call(self, endpoint: str, request: Request, arguments: dict[str, Any]) -> Any:
        handler: Any = self._application.endpoints[endpoint]
        segments = handler.segment_count
        request.prepath += request.postpath[:segments]
        request.postpath = request.postpath[segments:]
        return self._application.execute_endpoint(endpoint, request, **arguments)

    def _answer(self, result: Any, request: Request) -> bytes | int:
        """Return the body that ``result`` is, or see to it that it is written later."""
        if isinstance(result, Response):
            result = result._applyToRequest(request)
        if isinstance(result, str):
            result = result.encode()
        if isinstance(result, bytes):
            return result
        if result is None and (request.startedWriting or request.code != 200):
            return b""
        if IRenderable.providedBy(result) or isinstance(result, Tag):
            result = _flatten(result, request)
        if isinstance(result, Deferred):
            self._answer_later(result, request)
        elif IResource.providedBy(result):
            request.render(getChildForRequest(result, request))
        elif result is not NOT_DONE_YET:
            raise TypeError(
                f"a handler returned {result.__class__.__name__}: return bytes or text, such as"
                " json_response(request, value) or no_content(request)"
            )
        return NOT_DONE_YET

    def _answer_later(self, result: Deferred[Any], request: Request) -> None:
        """Answer when ``result`` is there.  It is cancelled when the client leaves."""
        request.running = result
        request.notifyFinish().addErrback(lambda _: request.cancel())

        def answer(value: Any) -> None:
            if not request.is_over:  # else nobody is left to tell
                request.answer(self._answer(value, request))

        def fail(failure: Any) -> None:
            if failure.check(HTTPException) and not request.is_over:
                request.answer(_answer_exception(failure.value, request))
            else:
                request.processingFailed(failure)

        result.addCallback(answer).addErrback(fail).addErrback(request.processingFailed)


def _flatten(element: Any, request: Request) -> Deferred[bytes]:
    """Return the HTML of a template, whole: half of one would hide that the rest failed.

    To cancel it ends the wait alone.  Twisted's flattener, if it were cancelled, would leave
    errors in the Deferreds of the template that nobody handles.
    """
    if not request.responseHeaders.hasHeader(b"Content-Type"):
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    whole: Deferred[bytes] = Deferred()
    html = flattenString(request, element)
    html.addCallback(lambda text: b"<!DOCTYPE html>\n" + text).chainDeferred(whole)
    return whole


# --- what werkzeug raises -----------------------------------------------------------------


def _answer_exception(exception: HTTPException, request: Request) -> bytes:
    """Return the answer to an exception of werkzeug's: no route matches, or a handler aborts.

    Raises the :class:`AppError` that it stands for, if it is one.
    """
    if isinstance(exception, RequestRedirect):
        request.setResponseCode(exception.code)
        request.setHeader(b"Location", _location(request, exception))
        return b""
    error = _translate(exception)
    if isinstance(error, MethodNotAllowed) and request.method == b"OPTIONS":
        request.setResponseCode(204)
        request.setHeader(b"Allow", error.headers["Allow"])
        return b""
    raise error from exception


def _translate(exception: HTTPException) -> AppError:
    if isinstance(exception, WerkzeugMethodNotAllowed):
        allow = sorted({*(exception.valid_methods or ()), "OPTIONS"})
        return MethodNotAllowed("This path has no such method", allow=allow)
    if exception.code == 404:
        return NotFound(_NO_ROUTE)
    return error_for_status(exception.code or 500, dict(exception.get_headers()))


def _location(request: Request, redirect: RequestRedirect) -> bytes:
    """Return where to go on this host, under whatever name and port the client knows it."""
    _, mark, query = request.uri.partition(b"?")
    return urlsplit(redirect.new_url).path.encode() + mark + query


# --- klein.url_for ------------------------------------------------------------------------


@implementer(IKleinRequest)
class _KleinRequest:
    """What ``IKleinRequest(request)`` gives a handler: URLs of other routes."""

    def __init__(self, request: Request) -> None:
        self.mapper: MapAdapter = request.url_map
        self.branch_segments = [""]

    def url_for(self, endpoint: str, *args: Any, **kwargs: Any) -> str:
        """Return the path of a route; see :meth:`werkzeug.routing.MapAdapter.build`."""
        return self.mapper.build(endpoint, *args, **kwargs)


registerAdapter(_KleinRequest, Request, IKleinRequest)
