"""One connection: Twisted's HTTP/1.1 channel, made strict, fair, bounded in time and drainable.

A connection is always in one :class:`Phase`, and each phase has a deadline of its own, so
that no client holds one open for longer by sending a byte now and then.  A head that isn't
valid becomes a request with a ``refusal``: it goes through the same wrappers as any other,
and so is logged and answered like any other.

What arrives is read in shares, one per turn of the reactor: no connection holds up the others,
however much it sends at once and however much work each byte is.  Each byte is looked at once, in
whatever pieces it arrives.
"""

from __future__ import annotations

import enum
import io
import re
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers
from zope.interface import implementer

from x121.core.deadlines import Deadlines
from x121.errors import (
    AppError,
    BadRequest,
    HeadersTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    UriTooLong,
)
from x121.http.chunked import ChunkedDecoder
from x121.http.head import (
    MAX_METHOD_BYTES,
    MAX_NAME_BYTES,
    MAX_TARGET_BYTES,
    check_fields,
    check_head,
    options_in,
    serve_as_1_1,
)
from x121.http.intake import SHARE, Intake
from x121.http.request import Request, no_room
from x121.http.send_rate import SendRate
from x121.http.sockets import acknowledged_bytes, bytes_to_read, drop_when_stuck, has_hung_up

__all__ = ["MAX_HEAD_BYTES", "MAX_HEAD_FIELDS", "MAX_LENGTH", "Channel", "Phase"]

_log = Logger(namespace="x121.http")

MAX_HEAD_BYTES = 32_768
MAX_HEAD_FIELDS = 100
# After an early answer this much more is read and thrown away, so that the client gets to
# read the answer before the connection is reset (RFC 9112 section 9.6).
MAX_LINGER_BYTES = 8 << 20

# So many requests of one connection begin in one turn of the reactor.
_REQUESTS_PER_TURN = 4

# Python's own int() chokes on a number of thousands of digits.
MAX_LENGTH = 64
_LONGER_LENGTH = re.compile(rb"(?i:content-length)[ \t]*:[ \t]*[^ \t]{%d}" % (MAX_LENGTH + 1))
# A line that has not ended can't have a line feed in it, a carriage return before its end, nor
# what no head may hold.
_NEVER_A_LINE = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r.", re.DOTALL)


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

    clock: IReactorTime
    draining: bool
    is_trusted: Callable[[str], bool]
    max_body_bytes: int
    deadlines: dict[Phase, Deadlines[Channel] | None]
    send_rate: SendRate

    def opened(self, channel: Channel, /) -> None: ...
    def closed(self, channel: Channel, /) -> None: ...
    def finishing(self, channel: Channel, /) -> None: ...
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
    _intake: Intake

    def __init__(self) -> None:
        super().__init__()
        self._head_bytes = 0
        self._head_lines = 0
        self._lingered_bytes = 0
        self._read_all = False

    # --- the connection ---

    def connectionMade(self) -> None:
        super().connectionMade()
        self._intake = Intake(self.transport, self.site.clock, self._take_turn)
        self.peer, self.local = super().getPeer(), super().getHost()
        self.is_trusted_proxy = self.site.is_trusted(getattr(self.peer, "host", ""))
        drop_when_stuck(self.transport)
        self.site.opened(self)
        self._enter(Phase.NEW)

    def getPeer(self) -> IAddress:
        """Return the address of the other side."""
        return self.peer

    def getHost(self) -> IAddress:
        """Return the address of this side."""
        return self.local

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._intake.stop()
        if self.phase is Phase.BODY:
            self._log_half_request()
        if self._deadlines is not None:
            self._deadlines.stop(self)
        self.site.send_rate.stop(self)
        self.site.closed(self)
        self._end_requests(reason)

    def _log_half_request(self) -> None:
        """Have a request logged whose head was whole, although nobody is left to be answered."""
        self.requests[-1].client_left()
        self.refuse(BadRequest("The client left before its request was complete"))

    def _end_requests(self, reason: Failure) -> None:
        """Cancel what the client waits for, and end what is being written to it."""
        super().connectionLost(reason)
        super().stopProducing()
        self._requestProducer = None
        self.requests.clear()

    def close(self) -> None:
        """Close once what is written is on the wire, and drop the client if it won't."""
        self._enter(Phase.CLOSING)
        self._close_gently()

    def close_now(self) -> None:
        """Close without waiting for the client to do so first."""
        self._enter(Phase.CLOSING)
        self.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]  # TCP and UNIX have it

    def drop(self) -> None:
        """End whatever is left, because the server ends."""
        error = ServiceUnavailable("The server is shutting down")
        if self.phase is Phase.ANSWER:
            self._fail_requests(error)
            self.abort()
        elif self.phase is Phase.HEAD or self.phase is Phase.BODY:
            self.refuse(error)
            self.loseConnection()
        else:
            self.abort()

    def too_slow(self) -> None:
        """Drop the connection: its client takes less of a response than the least rate."""
        _log.info(
            "Dropped {remote}, which reads a response too slowly, after {bytes} bytes",
            remote=getattr(self.peer, "host", "") or "unix",
            bytes=acknowledged_bytes(self.transport),
        )
        if self.phase is Phase.ANSWER:
            self._fail_requests(RequestTimeout("The client reads the response too slowly"))
        self.abort()

    def _fail_requests(self, error: AppError) -> None:
        for request in list(self.requests):
            request.fail(error)
            request.cancel()

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
        elif self.transport.disconnecting:  # type: ignore[union-attr]
            self.abort()
        else:
            # The client has had the time to close first.  The kernel goes on sending.
            self._enter(Phase.CLOSING)
            self.loseConnection()

    @property
    def is_sending(self) -> bool:
        """Whether more is written than the client takes."""
        return bool(self._waitingForTransport)

    @property
    def in_flight(self) -> bool:
        """Whether there is a whole request whose response is not on its way."""
        return self.is_sending or self.phase is Phase.ANSWER

    @property
    def has_input(self) -> bool:
        """Whether something has arrived that is not read yet."""
        return bool(self._intake.kept) or bytes_to_read(self.transport) > 0

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        before, self._deadlines = self._deadlines, self.site.deadlines[phase]
        if before is not None and before is not self._deadlines:
            before.stop(self)
        if self._deadlines is not None:
            self._deadlines.start(self)

    # --- input and output, as fast as they may be ---

    def dataReceived(self, data: bytes) -> None:
        """Read ``data`` in its turn; after the last response only count it."""
        if self.phase is Phase.CLOSING:
            self._linger(len(data))
            return
        self._intake.put(data)
        self._read()

    def _take_turn(self) -> None:
        """Read what was kept for this turn."""
        self._read()

    def _read(self) -> None:
        """Read what has arrived, as far as the share goes."""
        self._intake.read(self._read_piece)
        if self.phase is Phase.CLOSING:
            self._linger(len(self._intake.clear()))
        if self._read_all:
            self._act_on_end_of_input()

    @property
    def _is_held_back(self) -> bool:
        """Whether no request may begin, as responses that nobody takes would pile up."""
        return self._waitingForTransport and self.phase.between_requests and not self._head_lines

    def _read_piece(self) -> bool:
        """Read a head, or a piece of a body; return False if there is nothing to do."""
        if self.phase is Phase.BODY:
            self._read_body()
            return True
        if self.phase > Phase.BODY or (self._waitingForTransport and self._is_held_back):
            return False
        take_line = self._intake.take_line
        while (line := take_line()) is not None:
            self.lineReceived(line)
            if not self._head_lines or self.phase > Phase.HEAD:
                return True
        self._wait_for_head()
        self._check_begun_line()
        return False

    def pauseProducing(self) -> None:
        """Begin no more requests until the client takes what was written."""
        self._waitingForTransport = True
        self.site.send_rate.blocked(self)
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on, now that the client has taken what was written."""
        self._waitingForTransport = False
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        self.site.send_rate.freed(self, is_blocked=self._waitingForTransport)
        self._intake.read_later()
        if self._read_all:
            self._act_on_end_of_input()

    def stopProducing(self) -> None:
        """Do nothing yet: :meth:`connectionLost` comes next, and tells handlers first.

        A producer that ended before its request would look like a failure of the handler's.
        """

    # --- the end of input or output ---

    def readConnectionLost(self) -> None:
        """Note that the client will send no more, and act on it once all is read that it sent."""
        self._read_all = True
        self._act_on_end_of_input()

    def writeConnectionLost(self) -> None:
        """Wait for the client to close, now that it has been sent all."""
        self._waitingForTransport = False
        self._enter(Phase.CLOSING)

    def _act_on_end_of_input(self) -> None:
        """Close, once all that the client sent is read and answered.

        Half a request is not answered.
        """
        if self.phase is Phase.CLOSING:
            self.loseConnection()
        elif self.phase is Phase.ANSWER:
            if self._has_left():
                self._leave()
        elif self.phase is not Phase.UPGRADED and not (self._is_held_back or self._intake.is_busy):
            self._leave()

    def _has_left(self) -> bool:
        """Whether the client that sends no more is taken to be gone.

        A half-close and a full one look alike on TCP.  One that said that this is its last request
        is waited for (RFC 9112 section 9.6), and so is one to which a large response is on its way:
        if it is gone, writing fails.
        """
        if self.requests[-1].is_delivering:
            return False
        if isinstance(self.peer, UNIXAddress):
            return has_hung_up(self.transport)
        return bool(self.persistent)

    def _leave(self) -> None:
        """Cancel what the client has waited for, and close when what is written is sent."""
        if self.phase is Phase.BODY:
            self._log_half_request()
        self._enter(Phase.CLOSING)
        self._end_requests(connectionDone)
        self.loseConnection()

    # --- the head ---

    def _wait_for_head(self) -> None:
        """Have the rest of a head arrive in time; most arrive whole, and need no deadline."""
        if self.phase.between_requests:
            self._enter(Phase.HEAD)

    def _check_begun_line(self) -> None:
        """Refuse a line of which only a part is there, if no line can begin like that."""
        if self._intake.search(_NEVER_A_LINE):
            self._refuse_line_end()
        elif self._head_bytes + len(self._intake) > MAX_HEAD_BYTES:
            self._head_lines += 1
            self._refuse_large_head()
        elif not self._head_lines:
            self._check_method(self._intake.peek(MAX_METHOD_BYTES + 1))

    def lineReceived(self, line: bytes) -> None:
        """Check a line of the head for what is lost later, then let Twisted parse it."""
        self._head_lines += 1
        self._head_bytes += len(line) + 2
        if self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_FIELDS + 2:
            self._refuse_large_head()
        elif self._head_lines == 1:
            if not line:
                self._ignore_stray()
            elif self._check_method(line):
                super().lineReceived(serve_as_1_1(line))
        elif b"\n" in line or b"\r" in line:
            self._refuse_line_end()
        elif line[:1] in (b" ", b"\t"):
            self.refuse(BadRequest("A header field is folded over several lines"))
        elif len(line) <= MAX_LENGTH or self._check_long_field(line):
            super().lineReceived(line)

    def _ignore_stray(self) -> None:
        """RFC 9112 section 2.2: a CRLF before a request is ignored, one of them."""
        self._head_lines = 0
        if self._head_bytes > len(b"\r\n"):
            self.refuse(BadRequest("There are empty lines where a request should be"))

    def _check_method(self, line: bytes) -> bool:
        """Refuse a request line, or its beginning, whose method is too long; return if not."""
        if len(line) <= MAX_METHOD_BYTES or b" " in line[: MAX_METHOD_BYTES + 1]:
            return True
        self.refuse(BadRequest(f"The request's method is longer than {MAX_METHOD_BYTES} bytes"))
        return False

    def _check_long_field(self, line: bytes) -> bool:
        """Refuse a field that is longer than most, and too long; return if it is not."""
        if _LONGER_LENGTH.match(line):
            self.refuse(BadRequest("Content-Length is not a number of bytes"))
        elif line.find(b":") > MAX_NAME_BYTES:
            limit = f"{MAX_NAME_BYTES} bytes"
            self.refuse(HeadersTooLarge(f"The name of a header field is longer than {limit}"))
        else:
            return True
        return False

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

    def _read_body(self) -> None:
        """Read a piece of a body.  Only framing takes time, so only that uses the share up."""
        decoder: Any = self._transferDecoder
        if self.length is None:
            piece = self._intake.take(SHARE)
            self._intake.spend(len(piece))
        else:
            piece = self._intake.take(decoder.contentLength)
        try:
            decoder.dataReceived(piece)
        except AppError as error:
            self.refuse(error)

    def _finishRequestBody(self, rest: bytes) -> None:
        """Serve the request, whose body ends before ``rest``."""
        self._intake.put_back(len(rest))
        self.allContentReceived()

    def allContentReceived(self) -> None:
        """The request is whole: serve it, unless it was answered already."""
        if self.phase is Phase.CLOSING:
            return
        self._head_bytes = self._head_lines = 0
        self._intake.spend(SHARE // _REQUESTS_PER_TURN)
        self._enter(Phase.ANSWER)
        super().allContentReceived()

    # --- a request that another parser has read ---

    @property
    def may_begin(self) -> bool:
        """Whether what comes now begins a request, which can be served at once."""
        is_between = self.phase is Phase.IDLE or self.phase is Phase.NEW
        return is_between and not self._waitingForTransport and not self._intake.kept

    def serve(self, request: Request, method: bytes, target: bytes) -> None:
        """Serve a whole request of HTTP/1.1, whose head is valid and asks for no more than that.

        Only where :attr:`may_begin` is true.
        """
        self.requests.append(request)
        self._head_bytes = 0
        self.persistent = True
        self.phase = Phase.ANSWER
        request.requestReceived(method, target, b"HTTP/1.1")
        if self.phase is Phase.ANSWER:  # else it is answered, and the old deadline was replaced
            self._enter(Phase.ANSWER)

    # --- the answer ---

    def make_head(self, version: bytes, code: int, reason: bytes, headers: Headers) -> bytes:
        """Return the head of an answer, with what every answer has."""
        if not self.persistent or self.site.draining:
            self.persistent = False
            if self.site.draining and self.phase is Phase.ANSWER:
                self.site.finishing(self)
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
        request.body_too_large = refusal is None
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
        request.process()

    # --- another protocol ---

    def release(self) -> Any:
        """Let go of the transport, and return it, for another protocol (RFC 9110 section 7.8)."""
        self._enter(Phase.UPGRADED)
        self.site.send_rate.stop(self)
        transport: Any = self.transport
        transport.unregisterProducer()
        self.site.closed(self)
        return transport

    def hand_over(self, successor: IProtocol) -> None:
        """Give ``successor`` what has arrived behind the request that asked for it."""
        early = self._intake.stop()
        if early:
            successor.dataReceived(early)

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
            self._begin_next()
        else:
            # An answer that began before the drain didn't know that it is the last.
            self.persistent = False
            self.requests.remove(request)
            self.close()

    def _begin_next(self) -> None:
        """Read on, with what was kept meanwhile."""
        self._enter(Phase.IDLE)
        if self._intake.kept:
            self._intake.read_later()
        if self._read_all:
            self._act_on_end_of_input()

    def _close_gently(self) -> None:
        """Send what is written, then no more; read on, within bounds, until the client closes.

        Closing with unread input would reset the connection, and cut what is on its way (RFC 9112
        section 9.6).
        """
        if self._read_all or not ITCPTransport.providedBy(self.transport):
            self.loseConnection()
            return
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        transport.loseWriteConnection()

    def _linger(self, received: int) -> None:
        self._lingered_bytes += received
        if self._lingered_bytes > MAX_LINGER_BYTES:
            self.abort()
