"""The request that middleware and handlers use: a subclass of ``twisted.web.server.Request``.

It adds attributes that middleware sets (``request_id``), callbacks just before the head of the
response is written, one way to fail, and one way to be cancelled.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.python.failure import Failure
from twisted.web import http_headers, server
from twisted.web.http import (
    NO_BODY_CODES,
    NO_CONTENT,
    NOT_MODIFIED,
    datetimeToString,
    toChunk,
)
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from x121.errors import AppError, Panic, ServiceUnavailable, reason_phrase
from x121.http.delivery import MAX_JOINED_BYTES, SLICE_BYTES, Delivery
from x121.http.facts import RequestFacts, RequestSite
from x121.http.headers import Headers
from x121.http.response import EncodedResponse, error_response, field_lines

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

__all__ = ["BeforeHead", "Request", "no_room"]

MAX_BODY_BYTES_IN_MEMORY = 100_000
_NO_TYPE_CODES = frozenset((NO_CONTENT, NOT_MODIFIED))

BeforeHead = Callable[["Request"], bytes | None]
"""Called before the head of a response is written; may return a body to replace the response's."""


class Site(RequestSite, Protocol):
    """The part of a site that a request uses."""

    resource: IResource
    max_body_bytes: int

    def date(self) -> bytes: ...


class Channel(Protocol):
    """The part of a connection that a request uses, in addition to Twisted's."""

    site: Any
    peer: IAddress
    local: IAddress
    is_trusted_proxy: bool
    transport: Any

    def make_head(
        self, version: bytes, code: int, reason: bytes | None, fields: bytes, /
    ) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def requestDone(self, request: Request) -> None: ...
    def overflow(self) -> None: ...
    def refuse(self, error: AppError) -> None: ...
    def abandon(self, request: Request) -> None: ...
    def release(self) -> Any: ...
    def hand_over(self, successor: IProtocol) -> None: ...


class Request(RequestFacts, server.Request):
    """One request and its response.

    ``request_id`` is the id that every log line and the response carry.  ``refusal`` is the error
    of a request that the channel rejects; ``body_too_large`` is set if the body is over the limit.
    ``is_delivering`` is set while a large response body is being written.
    ``url_map`` builds the URLs of routes.

    Attributes that most requests don't need are computed on first use: ``args``, cookies, and the
    segments of the path.
    """

    channel: Channel  # type: ignore[assignment]  # only the part that is used here
    site: Site  # type: ignore[assignment]
    requestHeaders: Headers
    responseHeaders: Headers
    content: Any  # a binary file; with Twisted's type every handler would have to check for None
    url_map: MapAdapter
    # A handler's text without a Content-Type is never interpreted as HTML.
    defaultContentType = b"text/plain; charset=utf-8"

    queued = False
    refusal: AppError | None = None
    body_too_large = False
    is_delivering = False
    route: Any = None
    """The route, if it was looked up before the request was made."""
    late_error: AppError | None = None
    _body_bytes = 0
    _has_no_body = False
    _matched_segments = 0
    _prepath: list[bytes] | None = None
    _postpath: list[bytes] | None = None
    _received_cookies: dict[bytes, bytes] | None = None

    def __init__(
        self, channel: Channel, queued: bool = False, headers: Headers | None = None
    ) -> None:
        # Replaces Twisted's __init__, which creates twice as many objects.
        self.channel = channel
        self.site = channel.site
        self.transport = channel.transport
        self.client = channel.peer
        self.host = channel.local
        self.is_through_trusted_proxy = channel.is_trusted_proxy
        self.requestHeaders = Headers() if headers is None else headers
        self.responseHeaders = Headers()
        self.cookies = []
        self.notifications = []
        self._adapterCache: dict[Any, Any] = {}  # Componentized's
        self.on_failure: Callable[[Request, Failure], None] = _last_resort
        self._before_head: list[BeforeHead] = []
        self._on_over: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # --- facts ---

    @property
    def is_finished(self) -> bool:
        """True once the response is finished or the client has disconnected."""
        return bool(self.finished or self._disconnected)

    def _has_tls(self) -> bool:
        return bool(server.Request.isSecure(self))

    # --- the target ---

    @property
    def prepath(self) -> list[bytes]:
        """The path's decoded segments that the route has matched."""
        if self._prepath is None:
            self._split_path()
        return self._prepath  # type: ignore[return-value]

    @prepath.setter
    def prepath(self, segments: list[bytes]) -> None:
        self._prepath = segments

    @property
    def postpath(self) -> list[bytes]:
        """The path's decoded segments after those that the route has matched."""
        if self._postpath is None:
            self._split_path()
        return self._postpath  # type: ignore[return-value]

    @postpath.setter
    def postpath(self, segments: list[bytes]) -> None:
        self._postpath = segments

    def consume(self, segments: int) -> None:
        """Note that a route has matched the next ``segments`` in ``postpath``."""
        if self._postpath is None:
            self._matched_segments += segments
        else:
            self.prepath = self.prepath + self._postpath[:segments]
            self._postpath = self._postpath[segments:]

    def _split_path(self) -> None:
        path = self.path or b"/"  # None before the request is received
        segments = [unquote_to_bytes(part) for part in path[1:].split(b"/")]
        if self._prepath is None:
            self._prepath = segments[: self._matched_segments]
        if self._postpath is None:
            self._postpath = segments[self._matched_segments :]

    @property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        """The cookies of the request."""
        if self._received_cookies is None:
            self._received_cookies = {}
            super().parseCookies()
        return self._received_cookies

    def parseCookies(self) -> None:
        """Do nothing: cookies are parsed on first use of ``received_cookies``."""

    # --- the body, as it arrives ---

    def gotLength(self, length: int | None) -> None:
        """Create the buffer of the body: in memory, or in a file if it is or becomes large.

        Raises :class:`OSError` if no file can be created.
        """
        if length is None:
            self.content = tempfile.SpooledTemporaryFile(MAX_BODY_BYTES_IN_MEMORY)  # noqa: SIM115
        elif length > MAX_BODY_BYTES_IN_MEMORY:
            self.content = tempfile.TemporaryFile()  # noqa: SIM115
        else:
            self.content = io.BytesIO()

    def expect(self, size: int) -> None:
        """Note that ``size`` bytes of body data follow.

        If the body would exceed the limit, it is rejected, and not read.
        """
        if self.body_too_large or self.refusal is not None:
            return
        self._body_bytes += size
        if self._body_bytes > self.site.max_body_bytes:
            self.channel.overflow()

    def handleContentChunk(self, data: bytes) -> None:
        """Store ``data``, unless the request was rejected."""
        if self.body_too_large or self.refusal is not None:
            return
        try:
            self.content.write(data)
        except OSError as error:
            self.channel.refuse(no_room(error))

    def client_left(self) -> None:
        """Note that the client has disconnected before the request was served."""
        self._disconnected = True

    def connectionLost(self, reason: Failure) -> None:
        """Note that the client has disconnected, cancel the handler and release unsent data.

        A cancelled handler leaves a traceback, and with it this request, to the garbage collector,
        which runs by the number of objects and not by their size.
        """
        self._disconnected = True
        self._over()
        super().connectionLost(reason)
        self.transport = None
        self.cancel()

    # --- serving ---

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Serve the complete request.

        A form in its body is parsed by the handler, within its deadline and error handling.
        """
        self.receive(command, path, version)
        self.process()

    def receive(self, method: bytes, target: bytes, version: bytes) -> None:
        """Note the request line; the body is complete."""
        self.method = method
        self.uri = target
        self.clientproto = version
        self.path = target.partition(b"?")[0]
        self.content.seek(0)

    def process(self) -> None:
        """Pass the request to the site's resource, in its own context."""
        Context().run(self._process)

    def _process(self) -> None:
        try:
            self.render(self.site.resource)
        except BaseException:
            self.processingFailed(Failure())

    def render(self, resrc: IResource) -> None:
        """Send the response of ``resrc``.

        Any exception, including :class:`UnsupportedMethod`, is handled as a failure; Twisted would
        write an HTML page.
        """
        self.respond(resrc.render(self))

    def processingFailed(self, reason: Failure) -> None:
        """Respond to a failure that no handler or resource has handled."""
        self.on_failure(self, reason)

    # --- the response ---

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status and its reason phrase, by default that of RFC 9110."""
        super().setResponseCode(code, message or reason_phrase(code).encode())

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the response, replacing its old value; line breaks become spaces."""
        self.responseHeaders.set(name, value)

    def before_head(self, prepare: BeforeHead) -> None:
        """Call ``prepare(self)`` before the head is written, to set headers on any response.

        The callback added last, by the innermost middleware, is called first.
        """
        self._before_head.append(prepare)

    def on_finish(self, call: Callable[..., None], *arguments: object) -> None:
        """Call ``call(self, *arguments)`` when the response is finished or the client disconnects.

        Like ``notifyFinish``, but earlier, and without a Deferred for every request.
        """
        self._on_over.append((call, arguments))

    def respond(self, body: bytes | int) -> None:
        """Write ``body``, the whole or the rest of the response, and finish.

        A large body is written as fast as the client reads it.  For ``NOT_DONE_YET`` this does
        nothing: the resource that returned it finishes the request.
        """
        if body is NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            raise TypeError(f"invalid result of render(): {type(body).__name__} (expected bytes)")
        # RFC 9110 section 8.6: no length for 204 and 304; for HEAD it must be that of GET.
        if not self.startedWriting and self.code not in NO_BODY_CODES:
            headers = self.responseHeaders
            if self.method != b"HEAD" or headers.get(b"Content-Length") is None:
                headers.put(b"Content-Length", b"%d" % len(body))
        sends_body = self.method != b"HEAD" and self.code not in NO_BODY_CODES
        if len(body) > SLICE_BYTES and sends_body and self.producer is None:
            self.is_delivering = True
            Delivery(self, body).start()
        else:
            self.write(body)
            self.finish()

    def write(self, data: bytes) -> None:
        """Write a part of the response's body, and its head before the first part.

        Raises :class:`RuntimeError` once the response is finished.
        """
        if self.finished:
            raise RuntimeError("write() after finish(): the response is complete")
        if self._disconnected:
            return
        if not self.startedWriting:
            self._write_first(data)
        elif data and not self._has_no_body:
            self.sentLength += len(data)
            self.channel.write(b"".join(toChunk(data)) if self.chunked else data)

    def _write_first(self, data: bytes) -> None:
        """Write the head and ``data``, in one piece if ``data`` is small."""
        replacement = self._prepare_head()
        if replacement is not None:
            data = replacement
            self.responseHeaders.put(b"Content-Length", b"%d" % len(data))
        has_no_body = self.method == b"HEAD" or self.code in NO_BODY_CODES
        self._complete_headers(has_no_body)
        fields = self.responseHeaders.getAllRawHeaders()
        lines = field_lines([(name, value) for name, values in fields for value in values])
        first = self.channel.make_head(self.clientproto, self.code, self.code_message, lines)
        self._has_no_body = has_no_body or replacement is not None
        self.startedWriting = 1
        if has_no_body or not data:
            self.channel.write(first)
            return
        self.sentLength = len(data)
        if self.chunked:
            data = b"".join(toChunk(data))
        if len(data) <= MAX_JOINED_BYTES:
            self.channel.write(first + data)
        else:
            self.channel.write(first)
            self.channel.write(data)

    def _prepare_head(self) -> bytes | None:
        """Call the ``before_head`` callbacks; return the replacement of the body, if any."""
        replacement = None
        for prepare in reversed(self._before_head):
            replacement = prepare(self) or replacement
        return replacement

    def _complete_headers(self, has_no_body: bool) -> None:
        """Add the headers that Twisted adds to every response."""
        headers = self.responseHeaders
        if self.lastModified is not None and not headers.hasHeader(b"Last-Modified"):
            headers.put(b"Last-Modified", datetimeToString(self.lastModified))
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.cookies:
            headers.setRawHeaders(b"Set-Cookie", self.cookies)
        length = headers.get(b"Content-Length")
        if length is None and not has_no_body and self.clientproto == b"HTTP/1.1":
            headers.put(b"Transfer-Encoding", b"chunked")
            self.chunked = 1
        has_type = headers.get(b"Content-Type") is not None
        if not has_type and length != b"0" and self.code not in _NO_TYPE_CODES:
            headers.put(b"Content-Type", self.defaultContentType)

    def finish(self) -> None:
        """End the response.  Raises :class:`RuntimeError` if the client has disconnected."""
        if self._disconnected:
            raise RuntimeError(
                "finish() after the client disconnected: see notifyFinish() and is_finished"
            )
        if self.finished:
            warnings.warn("finish() was called twice", stacklevel=2)
            return
        if not self.startedWriting:
            self.write(b"")
        if self.chunked:
            self.channel.write(b"0\r\n\r\n")
        self.finished = 1
        self._end()

    def _end(self) -> None:
        """Release the connection, and call everything that waits for the end."""
        if self.producer is not None:
            self._log.error("{request} is finished, but has a producer", request=self)
            self.unregisterProducer()
        self._over()
        self.channel.requestDone(self)
        del self.channel
        if self.content is not None:
            self.content.close()
            del self.content
        notifications, self.notifications = self.notifications, []
        for deferred in notifications:
            deferred.callback(None)

    def _over(self) -> None:
        calls, self._on_over = self._on_over, []
        for call, arguments in calls:
            call(self, *arguments)

    def upgrade(self, take_over: Callable[[http_headers.Headers], IProtocol]) -> None:
        """Respond with 101, and pass the connection to another protocol.

        ``take_over`` gets the headers of the response and must write it; it returns the protocol
        that it has connected to the channel's transport.
        """
        self.setResponseCode(101)
        self._prepare_head()
        self.setHeader(b"Date", self.site.date())
        for cookie in self.cookies:  # as Twisted does when it writes a head
            self.responseHeaders.addRawHeader(b"Set-Cookie", cookie)
        channel = self.channel
        transport = channel.release()
        try:
            successor = take_over(self.responseHeaders)
        except BaseException:
            transport.abortConnection()  # the channel no longer closes it
            raise
        self.startedWriting = 1
        self.finish()
        channel.hand_over(successor)

    def fail(self, error: AppError) -> None:
        """Respond with ``error`` as JSON.

        A response that the handler has prepared is discarded.  If a part of it was already sent,
        the connection is dropped, so that the client doesn't take that part for the whole.
        """
        if self.is_finished:
            return
        if self.startedWriting:
            self.late_error = error
            self.channel.abandon(self)
            return
        if self.producer is not None:
            self.unregisterProducer()
        self.respond(self.prepare_error(error))

    def prepare_error(self, error: AppError) -> bytes:
        """Return the body of the response to ``error``, and set its status and headers.

        Only for callers that write the body themselves; all others call :meth:`fail`.
        """
        response = error_response(error)
        self.responseHeaders = Headers()
        self.chunked = 0
        self.cookies = []
        self.etag = self.lastModified = None
        self.prepare(response)
        return response.body

    def prepare(self, response: EncodedResponse) -> None:
        """Set the status and the headers of ``response``, in addition to those that are set."""
        self.setResponseCode(response.status)
        for name, value in response.fields.items():
            self.setHeader(name, value)

    def read_body(self, limit: int) -> bytes:
        """Return the body, or its first ``limit`` bytes."""
        body: bytes = self.content.read(limit)
        return body


def _last_resort(request: Request, failure: Failure) -> None:
    """Respond to a failure that happened outside the ``errors`` middleware."""
    request._log.failure("Unhandled error outside the errors middleware", failure)
    request.fail(Panic(type(failure.value).__name__))


def no_room(error: OSError) -> ServiceUnavailable:
    """Return the error for a body that can't be stored, for lack of disk or descriptors."""
    return ServiceUnavailable("The server can't store the body now", detail=str(error))
