"""A request as wrappers and handlers hold it: a true ``twisted.web.server.Request``.

What it adds: the facts that wrappers find out (``request_id``, ``remote``), a place to act
just before the head of the answer is written, one way to fail, and one way to be ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from x121 import jsons
from x121.errors import AppError, Panic, reason_phrase
from x121.http.proxies import forwarded_for

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

__all__ = ["BeforeHead", "Request"]

BeforeHead = Callable[["Request"], bytes | None]
"""Called before the head of an answer is written; may return a body that replaces it."""


class Site(Protocol):
    """What a request asks of its site."""

    resource: IResource
    max_body_bytes: int
    trusts: Callable[[str], bool]

    def date(self) -> bytes: ...


class Channel(Protocol):
    """What a request asks of its connection, besides what Twisted's does."""

    site: Any

    def overflow(self) -> None: ...
    def abandon(self, request: Request) -> None: ...
    def release(self) -> Any: ...
    def hand_over(self, successor: IProtocol) -> None: ...


class Request(server.Request):
    """One request and its answer.

    ``request_id`` is the id that every log line and the answer carry.  ``refusal`` is set
    where the request can't be served at all, ``overflowed`` where its body is larger than
    the channel reads.  ``running`` is what the handler waits for, to be cancelled with it.
    ``url_map`` makes URLs of routes.
    """

    channel: Channel  # type: ignore[assignment]  # as much of it as is used here
    site: Site  # type: ignore[assignment]
    prepath: list[bytes]
    postpath: list[bytes]
    content: Any  # a binary file; Twisted's type would have every handler look for None
    url_map: MapAdapter
    # A handler's text with no type of its own is never taken for HTML.
    defaultContentType = b"text/plain; charset=utf-8"

    def __init__(self, channel: Channel, queued: bool = False) -> None:
        # Bodies are the handlers' to parse, within their deadline and their errors.
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.site = channel.site
        self.request_id = "-"
        self.refusal: AppError | None = None
        self.overflowed = False
        self.running: Deferred[Any] | None = None
        self.failed_late: AppError | None = None
        self.on_failure: Callable[[Request, Failure], None] = _last_resort
        self._before_head: list[BeforeHead] = []
        self._body_bytes = 0

    # --- facts ---

    @property
    def remote(self) -> str:
        """The client's address: the peer's, or what a trusted proxy says."""
        peer = str(getattr(self.client, "host", "") or "unix")
        if not self._through_trusted_proxy:
            return peer
        chain = self.requestHeaders.getRawHeaders(b"X-Forwarded-For") or []
        return forwarded_for(chain, peer, self.site.trusts)

    @property
    def given_request_id(self) -> bytes | None:
        """The ``X-Request-Id`` that came with the request, if a trusted proxy sent it."""
        return self.getHeader(b"X-Request-Id") if self._through_trusted_proxy else None

    @property
    def is_over(self) -> bool:
        """True once the answer is finished or the client is gone: nothing can be written."""
        return bool(self.finished or self._disconnected)

    def isSecure(self) -> bool:
        """Whether the client speaks TLS, to us or to a trusted proxy."""
        if self._through_trusted_proxy:
            schemes = self.getHeader(b"X-Forwarded-Proto")
            if schemes is not None:  # what our own proxy saw was added last
                return schemes.rpartition(b",")[2].strip().lower() == b"https"
        return bool(super().isSecure())

    @property
    def _through_trusted_proxy(self) -> bool:
        return self.site.trusts(getattr(self.client, "host", ""))

    # --- the body, as it arrives ---

    def handleContentChunk(self, data: bytes) -> None:
        """Keep ``data`` unless the body grows past the limit: then nothing more is read."""
        if self.overflowed:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self.site.max_body_bytes:
            self.channel.overflow()
        else:
            super().handleContentChunk(data)

    def client_left(self) -> None:
        """Note that the client is gone, before the request is served."""
        self._disconnected = True

    def connectionLost(self, reason: Failure) -> None:
        """Note that the client is gone, and let go of what was to be sent to it.

        A handler that was cancelled leaves a traceback, and with it this request, to the
        garbage collector, which comes by the number of objects and not by their size.
        """
        super().connectionLost(reason)
        self.transport = None

    # --- serving ---

    def process(self) -> None:
        """Hand the request to the site's resource, in a context that no other request sees."""
        Context().run(self._process)

    def _process(self) -> None:
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        try:
            self.render(self.site.resource)
        except BaseException:
            self.processingFailed(Failure())

    def render(self, resrc: IResource) -> None:
        """Let ``resrc`` answer.  What it raises, :class:`UnsupportedMethod` too, is a failure
        like any other; Twisted would write a page of its own."""
        self.answer(resrc.render(self))

    def processingFailed(self, reason: Failure) -> None:
        """Answer a failure.  Whatever no handler or resource handled is brought here."""
        self.on_failure(self, reason)

    # --- answering ---

    def before_head(self, prepare: BeforeHead) -> None:
        """Call ``prepare(self)`` before the head is written, to set headers on any answer.

        The last one added, which is the innermost wrapper's, is called first.
        """
        self._before_head.append(prepare)

    def answer(self, body: bytes | int) -> None:
        """Write ``body``, the whole or the rest of the answer, and finish.

        ``NOT_DONE_YET`` leaves that to whoever returned it.
        """
        if body is NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            raise TypeError(f"a resource rendered {type(body).__name__} instead of bytes")
        if not self.startedWriting and self._may_tell_length():
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()

    def _may_tell_length(self) -> bool:
        """RFC 9110 section 8.6: not for 204 and 304, and for HEAD only what GET would tell."""
        told = self.method == b"HEAD" and self.responseHeaders.hasHeader(b"Content-Length")
        return not told and self.code not in NO_BODY_CODES

    def write(self, data: bytes) -> None:
        """Write a part of the answer's body, and before the first part its head."""
        if self.startedWriting or self.is_over:
            super().write(data)
            return
        replacement = self._prepare_head()
        if replacement is None:
            super().write(data)
            return
        self.setHeader(b"Content-Length", b"%d" % len(replacement))
        super().write(replacement)
        self.write = _drop  # type: ignore[method-assign]  # as Twisted does for HEAD

    def _prepare_head(self) -> bytes | None:
        """Let everybody set headers; return the body that one of them wants instead."""
        replacement = None
        for prepare in reversed(self._before_head):
            replacement = prepare(self) or replacement
        return replacement

    def upgrade(self, take_over: Callable[[Headers], IProtocol]) -> None:
        """Be answered with 101, and leave the connection to another protocol.

        ``take_over`` is given the headers of the answer, which is for it to write; it returns
        the protocol that it has put on the channel's transport.
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
            transport.abortConnection()  # nobody else would ever close it
            raise
        self.startedWriting = 1
        self.finish()
        channel.hand_over(successor)

    def fail(self, error: AppError) -> None:
        """Answer with ``error`` in the contract's form.

        Whatever a handler had prepared is thrown away.  If a part of its answer is already
        on the wire, the connection is dropped, so that nobody takes that part for the whole.
        """
        if self.is_over:
            return
        if self.startedWriting:
            self.failed_late = error
            self.channel.abandon(self)
            return
        if self.producer is not None:
            self.unregisterProducer()
        self.answer(self.prepare_error(error))

    def prepare_error(self, error: AppError) -> bytes:
        """Return the body that answers ``error``, and set its status and headers.

        For whoever writes it himself; everybody else calls :meth:`fail`.
        """
        body = jsons.encode(error.body())
        self.responseHeaders = Headers()
        self.cookies = []
        self.etag = self.lastModified = None
        self.setResponseCode(error.status, reason_phrase(error.status).encode())
        self.setHeader(b"Content-Type", b"application/json")
        for name, value in error.headers.items():
            self.setHeader(name, value)
        return body

    def cancel(self) -> None:
        """Cancel what the handler waits for, if it waits."""
        running, self.running = self.running, None
        if running is not None:
            running.cancel()


def _drop(data: bytes) -> None:
    pass


def _last_resort(request: Request, failure: Failure) -> None:
    """Answer a failure that happened outside the wrapper whose business failures are."""
    request._log.failure("Failed outside the errors wrapper", failure)
    request.fail(Panic(type(failure.value).__name__))
