"""One connection: Twisted's HTTP/1.1 channel, made strict, bounded in time and drainable.

A connection is always in one :class:`Phase`, and each phase has a deadline of its own, so
that no client holds one open for longer by sending a byte now and then.  A head that isn't
valid becomes a request with a ``refusal``: it goes through the same wrappers as any other,
and so is logged and answered like any other.
"""

from __future__ import annotations

import enum
import io
import re
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers
from zope.interface import implementer

from x121.errors import (
    AppError,
    BadRequest,
    HeadersTooLarge,
    RequestTimeout,
    UriTooLong,
)
from x121.http.chunked import ChunkedDecoder
from x121.http.deadlines import Deadlines
from x121.http.head import MAX_TARGET_BYTES, check_fields, check_head, options_in, serve_as_1_1
from x121.http.request import Request, no_room

__all__ = ["LONGEST_LENGTH", "MAX_HEAD_BYTES", "MAX_HEAD_FIELDS", "Channel", "Phase"]

MAX_HEAD_BYTES = 32_768
MAX_HEAD_FIELDS = 100
# After an early answer this much more is read and thrown away, so that the client gets to
# read the answer before the connection is reset (RFC 9112 section 9.6).
MAX_LINGER_BYTES = 8 << 20

# Python's own int() chokes on a number of thousands of digits.
LONGEST_LENGTH = 64
_LONGER_LENGTH = re.compile(rb"(?i:content-length)[ \t]*:[ \t]*[^ \t]{%d}" % (LONGEST_LENGTH + 1))
# A line that has not ended can't have a line feed in it, a carriage return before its end, nor
# what no head may hold.
_NEVER_A_LINE = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r.", re.DOTALL)

# A client that takes none of its answer for this long is gone: the kernel drops it.  One that
# is merely slow may take as long as it likes.
STUCK_CLIENT_SECS = 60


class Phase(enum.IntEnum):
    """What a connection waits for."""

    NEW = 0
    """the first byte ever"""
    IDLE = 1
    """the first byte of another request"""
    HEAD = 2
    """the rest of the head"""
    BODY = 3
    """the rest of the body"""
    ANSWER = 4
    """our own answer"""
    CLOSING = 5
    """the client to close"""
    UPGRADED = 6
    """nothing: another protocol speaks on the connection"""

    @property
    def between_requests(self) -> bool:
        """Whether nothing of a request has arrived."""
        return self <= Phase.IDLE


class Site(Protocol):
    """What a connection asks of its site."""

    draining: bool
    trusts: Callable[[str], bool]
    max_body_bytes: int
    deadlines: dict[Phase, Deadlines[Channel] | None]

    def opened(self, channel: Channel, /) -> None: ...
    def closed(self, channel: Channel, /) -> None: ...
    def first_lines(self, version: bytes, code: int, reason: bytes, /) -> bytes: ...


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """Reads requests from one connection, one at a time.

    ``site`` gives the limits and deadlines, and is told when the connection opens and closes.
    """

    site: Site
    peer: IAddress
    local: IAddress
    requestFactory: type[Request] = Request
    requests: list[Request]
    MAX_LENGTH = MAX_HEAD_BYTES
    totalHeadersSize = MAX_HEAD_BYTES
    maxHeaders = MAX_HEAD_FIELDS
    timeOut = None  # Twisted's own timer starts anew with every byte; see Phase
    phase = Phase.NEW
    _deadlines: Deadlines[Channel] | None = None
    _successor: IProtocol | None = None

    def __init__(self) -> None:
        super().__init__()
        self._head_bytes = 0
        self._head_lines = 0
        self._lingered_bytes = 0
        self._read_all = False
        self._held_back = False
        self._was_paused = False

    # --- the connection ---

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer, self.local = super().getPeer(), super().getHost()
        self.is_trusted_proxy = self.site.trusts(getattr(self.peer, "host", ""))
        _drop_when_stuck(self.transport)
        self.site.opened(self)
        self._enter(Phase.NEW)

    def getPeer(self) -> IAddress:
        """Return the address of the other side."""
        return self.peer

    def getHost(self) -> IAddress:
        """Return the address of this side."""
        return self.local

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.phase is Phase.BODY:
            # Its head was a request, which is logged although nobody is left to be answered.
            self.requests[-1].client_left()
            self.refuse(BadRequest("The client left before its request was complete"))
        if self._deadlines is not None:
            self._deadlines.stop(self)
        self.site.closed(self)
        super().connectionLost(reason)
        super().stopProducing()
        self.requests.clear()

    def readConnectionLost(self) -> None:
        """The client will send no more.

        That it still reads can't be told from that it has left, so what it waits for is
        cancelled; but an answer that is written is sent.
        """
        self._read_all = True
        if self.phase in (Phase.HEAD, Phase.BODY, Phase.ANSWER):
            self.abort()
        elif self.phase is Phase.CLOSING and self.transport is not None:
            self.transport.loseConnection()
        else:
            self._close_if_read_all()

    def writeConnectionLost(self) -> None:
        """We closed our side: nothing to do."""

    def _close_if_read_all(self) -> None:
        """Close, if the client will send no more and all that it sent is answered."""
        if not self._read_all:
            return
        more = self._held_back or self._busyReceiving or self._buffer or self._dataBuffer
        if self.phase.between_requests and not more:
            self.close()

    def pauseProducing(self) -> None:
        """Read no more than is on its way already, until the client takes what was written."""
        self._was_paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Go on, now that the client has taken what was written."""
        super().resumeProducing()
        if self._held_back:
            self._held_back = False
            self._begin_next()

    def stopProducing(self) -> None:
        """Do nothing yet: :meth:`connectionLost` comes next, and tells handlers first.

        A producer that ended before its request would look like a failure of the handler's.
        """

    def dataReceived(self, data: bytes) -> None:
        """Take ``data`` in; after an early answer only count it."""
        if self.phase is Phase.CLOSING:
            self._linger(len(data))
            return
        LineReceiver.dataReceived(self, data)
        if not self._busyReceiving:
            self._judge_the_rest()

    def _judge_the_rest(self) -> None:
        """See whether a part of a head is left, which must be a line that hasn't ended."""
        if self.phase.between_requests and (self._buffer or self._head_lines):
            # Most heads arrive whole, and need no deadline of their own.
            self._enter(Phase.HEAD)
        if self.phase is Phase.HEAD and _NEVER_A_LINE.search(self._buffer):
            self._refuse_line_end()

    def close(self) -> None:
        """Close once what is written is on the wire, and drop the client if it won't."""
        self._enter(Phase.CLOSING)
        self.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]  # TCP and UNIX have it

    def abandon(self, request: Request) -> None:
        """Drop the connection in the middle of ``request``, which ends here and now."""
        self._enter(Phase.CLOSING)
        self.abort()
        if request in self.requests:
            self.requests.remove(request)
        request.connectionLost(Failure(ConnectionAborted()))

    def expired(self) -> None:
        """Act on the end of this phase's deadline."""
        if self.phase is Phase.HEAD:
            self.refuse(RequestTimeout("The request's head did not arrive in time"))
        elif self.phase is Phase.BODY:
            self.refuse(RequestTimeout("The request's body did not arrive in time"))
        elif self.is_sending:
            self._enter(self.phase)  # to a reader who is slow, not gone
        elif self.phase.between_requests:
            self.close()
        else:
            self.abort()

    @property
    def is_sending(self) -> bool:
        """Whether more is written than the client takes."""
        return bool(self._waitingForTransport)

    @property
    def in_flight(self) -> bool:
        """Whether there is a request that was begun and whose answer is not on its way."""
        return self.is_sending or self.phase in (Phase.HEAD, Phase.BODY, Phase.ANSWER)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        before, self._deadlines = self._deadlines, self.site.deadlines[phase]
        if before is not None and before is not self._deadlines:
            before.stop(self)
        if self._deadlines is not None:
            self._deadlines.start(self)

    # --- the head ---

    def lineReceived(self, line: bytes) -> None:
        """Check a line of the head for what is lost later, then let Twisted parse it."""
        if self.phase is Phase.CLOSING:
            return
        self._head_lines += 1
        self._head_bytes += len(line) + 2
        if self._head_lines == 1:
            if not line:
                self._ignore_stray()
                return
            line = serve_as_1_1(line)
        elif b"\n" in line or b"\r" in line:
            self._refuse_line_end()
            return
        elif line[:1] in (b" ", b"\t"):
            self.refuse(BadRequest("A header field is folded over several lines"))
            return
        elif len(line) > LONGEST_LENGTH and _LONGER_LENGTH.match(line):
            self.refuse(BadRequest("Content-Length is not a number of bytes"))
            return
        if self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_FIELDS + 2:
            self._refuse_large_head()
            return
        super().lineReceived(line)

    def _ignore_stray(self) -> None:
        """RFC 9112 section 2.2: a CRLF before a request is ignored, one of them."""
        self._head_lines = 0
        if self._head_bytes > len(b"\r\n"):
            self.refuse(BadRequest("There are empty lines where a request should be"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is longer than a whole head may be."""
        if self.phase is not Phase.CLOSING:
            self._head_lines += 1
            self._refuse_large_head()

    def _refuse_line_end(self) -> None:
        self.refuse(BadRequest("The request's head has lines that do not end in CRLF"))

    def _refuse_large_head(self) -> None:
        if self._head_lines <= 1:
            limit = f"The request target is longer than {MAX_TARGET_BYTES} bytes"
            self.refuse(UriTooLong(limit))
        else:
            limit = f"{MAX_HEAD_BYTES} bytes or {MAX_HEAD_FIELDS} fields"
            self.refuse(HeadersTooLarge(f"The request's head is larger than {limit}"))

    def allHeadersReceived(self) -> None:
        """Judge the whole head, before a body is asked for or read."""
        request = self.requests[-1]
        try:
            check_fields(request.requestHeaders)
            self._path = check_head(
                self._command, self._path, self._version, request.requestHeaders
            )
        except AppError as error:
            self.refuse(error)
            return
        if self.length is not None and self.length > self.site.max_body_bytes:
            self.overflow()
            return
        if self.length is None:
            self._transferDecoder = ChunkedDecoder(
                request.handleContentChunk, self._finishRequestBody, request.expect
            )
        try:
            super().allHeadersReceived()
        except OSError as error:
            self.refuse(no_room(error))
            return
        if self.length != 0:
            self._enter(Phase.BODY)

    def _send100Continue(self) -> None:
        # Twisted's would also where nothing is to come.
        if self.length != 0:
            super()._send100Continue()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Return whether the connection outlives this request (RFC 9112 section 9.3)."""
        return version == b"HTTP/1.1" and b"close" not in options_in(
            request.requestHeaders, b"Connection"
        )

    def allContentReceived(self) -> None:
        """The request is whole: serve it, unless it was answered already."""
        if self.phase is Phase.CLOSING:
            return
        self._head_bytes = self._head_lines = 0
        self._enter(Phase.ANSWER)
        super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of a body, or keep what comes behind it for later."""
        if self.phase is Phase.CLOSING:
            self._linger(len(data))
            return
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        try:
            super().rawDataReceived(data)
        except AppError as error:
            self.refuse(error)
            return
        # Twisted relies on the transport's being paused while the client takes nothing, which it
        # is not if a request was handled when that began.
        if self._waitingForTransport and self._handlingRequest:
            kept = sum(map(len, self._dataBuffer))
            if kept > self._optimisticEagerReadSize:
                self._networkProducer.pauseProducing()

    # --- a request that another parser has read ---

    @property
    def may_begin(self) -> bool:
        """Whether what comes now begins a request, which can be served at once."""
        is_between = self.phase is Phase.IDLE or self.phase is Phase.NEW
        return is_between and not self._handlingRequest and not self._busyReceiving

    def serve(self, request: Request, method: bytes, target: bytes) -> None:
        """Serve a whole request of HTTP/1.1, whose head is valid and asks for no more than that.

        Only where :attr:`may_begin` is true.
        """
        self.requests.append(request)
        self._head_bytes = 0
        self.persistent = True
        self._handlingRequest = True
        self.setRawMode()
        self.phase = Phase.ANSWER
        request.requestReceived(method, target, b"HTTP/1.1")
        if self.phase is Phase.ANSWER:  # else it is answered, and the old deadline was replaced
            self._enter(Phase.ANSWER)

    # --- the answer ---

    def make_head(self, version: bytes, code: int, reason: bytes, headers: Headers) -> bytes:
        """Return the head of an answer, with what every answer has."""
        if not self.persistent or self.site.draining:
            self.persistent = False
            headers.addRawHeader(b"Connection", b"close")
        lines = [self.site.first_lines(version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            for value in values:
                lines.append(name + b": " + value)  # it pays here
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer, as Twisted's requests ask for it."""
        self.write(self.make_head(version, int(code), reason, headers))

    # --- answering early ---

    def refuse(self, error: AppError) -> None:
        """Answer ``error`` to what has arrived so far, read no more, and close.

        Nothing is done for a request that is answered already.
        """
        if self.phase is not Phase.CLOSING:
            self._answer_early(refusal=error)

    def overflow(self) -> None:
        """Answer a request whose body is too large, without reading it, and close."""
        self._answer_early(refusal=None)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted calls this wherever its own parser finds a fault.
        self.refuse(BadRequest("The request is malformed"))

    def _answer_early(self, refusal: AppError | None) -> None:
        self._enter(Phase.CLOSING)
        if not self.requests:
            self.requests.append(self.requestFactory(self))
        request = self.requests[-1]
        request.refusal = refusal
        request.overflowed = refusal is None
        # As much of the request line as could be read, for the log.
        request.method = getattr(self, "_command", b"-")
        request.uri = getattr(self, "_path", b"-")
        # A target in another form may hold a user's password.
        known = request.uri.startswith(b"/")
        request.path = request.uri.partition(b"?")[0] if known else b"-"
        request.clientproto = b"HTTP/1.1"
        request.args = {}
        if request.content is None:
            request.content = io.BytesIO()
        self.persistent = False
        self._handlingRequest = True
        request.process()

    # --- another protocol ---

    def release(self) -> Any:
        """Let go of the transport, and return it, for another protocol (RFC 9110 section 7.8)."""
        self._enter(Phase.UPGRADED)
        transport: Any = self.transport
        transport.unregisterProducer()
        self.site.closed(self)
        return transport

    def hand_over(self, successor: IProtocol) -> None:
        """Give ``successor`` what has arrived behind the request that asked for it."""
        early, self._dataBuffer = self._dataBuffer, []
        for data in early:
            successor.dataReceived(data)
        self._successor = successor  # for what this turn of the reactor still has to bring

    # --- the end of a request ---

    def requestDone(self, request: Request) -> None:
        """Go on to the next request, or close: gently, where the client may still be sending."""
        if self.phase is Phase.UPGRADED:
            self.requests.clear()
        elif self.phase is Phase.CLOSING:
            del self.requests[0]
            self._close_gently()
        elif self.persistent and not self.site.draining:
            self.requests.remove(request)
            if self._waitingForTransport:
                # Answers that nobody takes would pile up.  What arrives meanwhile is kept, in
                # order and within bounds, as it is while a request is handled.
                self._held_back = True
                self._enter(Phase.IDLE)
            else:
                self._begin_next()
        else:
            # An answer that began before the drain didn't know that it is the last.
            self.persistent = False
            self._enter(Phase.CLOSING)
            super().requestDone(request)

    def _close_gently(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            _close_our_side(self.transport)
        else:
            self.loseConnection()

    def _begin_next(self) -> None:
        """Read on, with what was kept meanwhile."""
        self._enter(Phase.IDLE)
        self._handlingRequest = False
        if self._dataBuffer or self._was_paused:
            self._was_paused = False
            self._networkProducer.resumeProducing()
        kept = b"".join(self._dataBuffer)
        self._dataBuffer = []
        self.setLineMode(kept)
        self._close_if_read_all()

    def _linger(self, received: int) -> None:
        self._lingered_bytes += received
        if self._lingered_bytes > MAX_LINGER_BYTES:
            self.abort()


def _close_our_side(transport: Any) -> None:
    """Send what is written, then no more, and go on reading."""
    transport.unregisterProducer()
    transport.resumeProducing()
    transport.loseWriteConnection()


def _drop_when_stuck(transport: Any) -> None:
    """Let the kernel end a connection whose peer takes no data (tcp(7), TCP_USER_TIMEOUT)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    if option is not None and ITCPTransport.providedBy(transport):
        handle = getattr(transport, "getHandle", lambda: None)()
        if handle is not None:
            handle.setsockopt(socket.IPPROTO_TCP, option, STUCK_CLIENT_SECS * 1000)
