"""Rendering: turns a handler's result, or an exception of werkzeug's, into a response."""

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
from x121.http.facts import RequestFacts
from x121.http.request import Request
from x121.http.response import EncodedResponse

__all__ = ["NO_ROUTE", "respond", "response_to_exception"]

NO_ROUTE = "No resource at this path"
"""The message of a 404 for a path that no route has."""


def respond(result: Any, request: Request) -> bytes | int:
    """Return the body for ``result``, or ``NOT_DONE_YET`` if the response is written later.

    Raises :class:`TypeError` for an unsupported result, and the :class:`AppError` for an exception
    of werkzeug's.
    """
    if isinstance(result, bytes) and not request.is_finished:
        return result
    try:
        return _respond(result, request)
    except HTTPException as exception:
        return _send(response_to_exception(exception, request), request)


def _respond(result: Any, request: Request) -> bytes | int:
    if isinstance(result, Response):
        result = result._applyToRequest(request)
    if isinstance(result, Deferred):
        return _respond_later(result, request)
    if isinstance(result, Failure):
        return _fail(result, request)
    if request.is_finished:
        return _be_over(result, request)
    if isinstance(result, EncodedResponse):
        return _send(result, request)
    if isinstance(result, str):
        return result.encode()
    if isinstance(result, bytes):
        return result
    if result is None and (request.startedWriting or request.code != 200):
        return b""
    return _render(result, request)


def _send(response: EncodedResponse, request: Request) -> bytes:
    request.prepare(response)
    return response.body


def _respond_later(result: Deferred[Any], request: Request) -> int:
    """Respond when ``result`` fires.  The request cancels it when the client disconnects."""
    request.running = result
    result.addBoth(_arrived, request)
    if request.is_finished and not request.finished:
        request.cancel()  # the client disconnected before there was anything to cancel
    return NOT_DONE_YET


def _arrived(value: Any, request: Request) -> None:
    """Respond with the result of a Deferred.  A failure is always logged."""
    try:
        if isinstance(value, Failure) or not request.is_finished:
            body = respond(value, request)
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
    """Discard the result: the handler has finished the request, or the client has disconnected."""
    if request.finished and result and isinstance(result, bytes | str):
        raise TypeError(
            "a handler finished its request and then returned a body, which is lost: do only one"
        )
    return NOT_DONE_YET


def _render(result: Any, request: Request) -> bytes | int:
    if IRenderable.providedBy(result) or isinstance(result, Tag):
        return _respond_later(_flatten(result, request), request)
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
    """Return the complete HTML of a template: a part of it would hide that the rest failed.

    Cancelling ends only the wait.  Cancelling Twisted's flattener would leave unhandled errors in
    the template's Deferreds.
    """
    if not request.responseHeaders.hasHeader(b"Content-Type"):
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    whole: Deferred[bytes] = Deferred()
    html = flattenString(request, element)
    html.addCallback(lambda text: b"<!DOCTYPE html>\n" + text).chainDeferred(whole)
    return whole


# --- exceptions of werkzeug's -------------------------------------------------------------


def response_to_exception(exception: HTTPException, request: RequestFacts) -> EncodedResponse:
    """Return the response to an exception of werkzeug's: no route matches, or a handler aborts.

    Raises the corresponding :class:`AppError`, if it is an error.
    """
    if isinstance(exception, RequestRedirect):
        location = {b"Location": _location(request, exception)}
        return EncodedResponse(exception.code, b"", location)
    error = _as_app_error(exception)
    if isinstance(error, MethodNotAllowed) and request.method == b"OPTIONS":
        return EncodedResponse(204, b"", {b"Allow": error.headers["Allow"].encode()})
    raise error from exception


def _as_app_error(exception: HTTPException) -> AppError:
    if isinstance(exception, WerkzeugMethodNotAllowed):
        allow = sorted({*(exception.valid_methods or ()), "OPTIONS"})
        return MethodNotAllowed("This path has no such method", allow=allow)
    if exception.code == 404:
        return NotFound(NO_ROUTE)
    return error_for_status(exception.code or 500, exception.get_headers())


def _location(request: RequestFacts, redirect: RequestRedirect) -> bytes:
    """Return the redirect's path and query, without a host: the client knows its name and port."""
    _, mark, query = request.uri.partition(b"?")
    return urlsplit(redirect.new_url).path.encode() + mark + query
