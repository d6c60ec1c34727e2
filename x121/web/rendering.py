"""From what a handler returned, or werkzeug raised, to the answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from klein import Response
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRenderable
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import Tag, flattenString
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.routing import RequestRedirect

from x121.core.coroutines import unawaited
from x121.errors import AppError, MethodNotAllowed, NotFound, error_for_status
from x121.http.request import Request

__all__ = ["answer", "respond_to_exception"]


def answer(result: Any, request: Request) -> bytes | int:
    """Return the body that ``result`` is, or ``NOT_DONE_YET`` if it is written later.

    Raises :class:`TypeError` for what is no answer, and the :class:`AppError` that an exception
    of werkzeug's stands for.
    """
    if isinstance(result, bytes) and not request.is_finished:
        return result
    try:
        return _answer(result, request)
    except HTTPException as exception:
        return respond_to_exception(exception, request)


def _answer(result: Any, request: Request) -> bytes | int:
    if isinstance(result, Response):
        result = result._applyToRequest(request)
    if isinstance(result, Deferred):
        return _answer_later(result, request)
    if isinstance(result, Failure):
        return _fail(result, request)
    if request.is_finished:
        return _be_over(result, request)
    if isinstance(result, str):
        return result.encode()
    if isinstance(result, bytes):
        return result
    if result is None and (request.startedWriting or request.code != 200):
        return b""
    return _render(result, request)


def _answer_later(result: Deferred[Any], request: Request) -> int:
    """Response when ``result`` is there.  The request cancels it when the client leaves."""
    request.running = result
    result.addBoth(_arrived, request)
    if request.is_finished and not request.finished:
        request.cancel()  # the client left before there was anything to cancel
    return NOT_DONE_YET


def _arrived(value: Any, request: Request) -> None:
    """Response with what a Deferred has fired with.  A failure is told to the log in any case."""
    try:
        if isinstance(value, Failure) or not request.is_finished:
            body = answer(value, request)
            if not request.is_finished:
                request.respond(body)
    except BaseException:
        request.processingFailed(Failure())


def _fail(failure: Failure, request: Request) -> int:
    if isinstance(failure.value, HTTPException):
        raise failure.value
    ended_with_it = request.is_finished and isinstance(failure.value, CancelledError)
    if not ended_with_it:
        request.processingFailed(failure)
    return NOT_DONE_YET


def _be_over(result: Any, request: Request) -> int:
    """Take note that the handler has answered by itself, or its client has left."""
    if request.finished and result and isinstance(result, bytes | str):
        raise TypeError("a handler finished its request and then returned an answer, which is lost")
    return NOT_DONE_YET


def _render(result: Any, request: Request) -> bytes | int:
    if IRenderable.providedBy(result) or isinstance(result, Tag):
        return _answer_later(_flatten(result, request), request)
    if IResource.providedBy(result):
        request.render(getChildForRequest(result, request))
    elif result is not NOT_DONE_YET:
        mistake = unawaited(result)
        if mistake:
            raise TypeError(f"a handler returned {mistake}")
        raise TypeError(
            f"a handler returned {result.__class__.__name__}: return bytes or text, such as"
            " json_response(request, value) or no_content(request)"
        )
    return NOT_DONE_YET


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


def respond_to_exception(exception: HTTPException, request: Request) -> bytes:
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
        return NotFound("There is nothing at this path")
    return error_for_status(exception.code or 500, exception.get_headers())


def _location(request: Request, redirect: RequestRedirect) -> bytes:
    """Return where to go on this host, under whatever name and port the client knows it."""
    _, mark, query = request.uri.partition(b"?")
    return urlsplit(redirect.new_url).path.encode() + mark + query
