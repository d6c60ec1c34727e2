"""One connection: Twisted's HTTP/1.1 channel, made strict, fair, bounded in time and drainable.

A connection is always in one :class:`Phase`.  Each phase has its own deadline, so that a client
can't extend it by sending a byte now and then.  An invalid head becomes a request with a
``refusal``, which passes through the same middleware as any other request, and so is logged and
responded to in the same way.

Input is read in shares, one per turn of the reactor, so that no connection delays the others,
however much it sends at once and however much work each byte is.  Each byte is examined once, in
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
from x121.http.exchange import Exchange, Pipeline
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

__all__ = [
    "BODY",
    "IDLE",
    "MAX_HEAD_BYTES",
    "MAX_HEAD_FIELDS",
    "MAX_LENGTH",
    "Channel",
    "Phase",
]

_log = Logger(namespace="x121.http")

MAX_HEAD_BYTES = 32_768
MAX_HEAD_FIELDS = 100
# After an early response up to this much more is read and discarded, so that the client can read
# the response before the connection is reset (RFC 9112 section 9.6).
MAX_LINGER_BYTES = 8 << 20

# The number of requests that one connection may begin in one turn of the reactor.
_REQUESTS_PER_TURN = 4

# Python's int() fails for a number of thousands of digits.
MAX_LENGTH = 64
_LONGER_LENGTH = re.compile(rb"(?i:content-length)[ \t]*:[ \t]*[^ \t]{%d}" % (MAX_LENGTH + 1))
# An incomplete line must not contain a line feed, a carriage return before its end, or a character
# that is not allowed in a head.
_NEVER_A_LINE = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r.", re.DOTALL)


class Phase(enum.IntEnum):
    """Phases of a connection, by the event that it waits for."""

    NEW = 0
    """Waits for the first byte of the first request."""
    IDLE = 1
    """Waits for the first byte of the next request."""
    HEAD = 2
    """Waits for the rest of the head."""
    BODY = 3
    """Waits for the rest of the body."""
    ANSWER = 4
    """Waits for the response of the handler."""
    CLOSING = 5
    """Waits for the client to close."""
    UPGRADED = 6
    """Waits for nothing: another protocol uses the connection."""

    @property
    def between_requests(self) -> bool:
        """True if no byte of a request has arrived."""
        return self <= Phase.IDLE


# A global takes a quarter of the time of a member of an enumeration, in Python 3.11.
NEW, IDLE, HEAD, BODY, ANSWER, CLOSING, UPGRADED = Phase


class Site(Protocol):
    """The part of a site that a connection uses."""

    clock: IReactorTime
    draining: bool
    is_trusted: Callable[[str], bool]
    max_body_bytes: int
    deadlines: dict[Phase, Deadlines[Channel] | None]
    pipeline: Pipeline | None
    send_rate: SendRate

    def opened(self, channel: Channel, /) -> None: ...
    def closed(self, channel: Channel, /) -> None: ...
    def finishing(self, channel: Channel, /) -> None: ...
    def first_lines(self, version: bytes, code: int, reason: bytes | None, /) -> bytes: ...


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """Reads requests from one connection, one at a time.

    ``site`` has the limits and deadlines, and is notified when the connection opens and closes.
    """

    site: Site
    peer: IAddress
    local: IAddress
    requestFactory: type[Request] = Request
    requests: list[Any]  # of Request or Exchange
    MAX_LENGTH = MAX_HEAD_BYTES
    totalHeadersSize = MAX_HEAD_BYTES
    maxHeaders = MAX_HEAD_FIELDS
    timeOut = None  # Twisted's timer restarts with every byte; see Phase
    phase = NEW
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
        self._enter(NEW)

    def getPeer(self) -> IAddress:
        """Return the address of the client."""
        return self.peer

    def getHost(self) -> IAddress:
        """Return the address of the server."""
        return self.local

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._intake.stop()
        if self.phase is BODY:
            self._log_half_request()
        if self._deadlines is not None:
            self._deadlines.stop(self)
        self.site.send_rate.stop(self)
        self.site.closed(self)
        self._end_requests(reason)

    def _log_half_request(self) -> None:
        """Log a request whose head is complete, although its client has disconnected."""
        self.requests[-1].client_left()
        self.refuse(BadRequest("The client disconnected before its request was complete"))

    def _end_requests(self, reason: Failure) -> None:
        """Cancel the handlers, and stop writing responses."""
        super().connectionLost(reason)
        super().stopProducing()
        self._requestProducer = None
        self.requests.clear()

    def close(self) -> None:
        """Close once everything written is sent; drop the connection if the client won't close."""
        self._enter(CLOSING)
        self._close_gently()

    def close_now(self) -> None:
        """Close without waiting for the client to close first."""
        self._enter(CLOSING)
        self.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]  # TCP and UNIX have it

    def drop(self) -> None:
        """End the requests and the connection, because the server is stopping."""
        error = ServiceUnavailable("The server is shutting down")
        if self.phase is ANSWER:
            self._fail_requests(error)
            self.abort()
        elif self.phase is HEAD or self.phase is BODY:
            self.refuse(error)
            self.loseConnection()
        else:
            self.abort()

    def too_slow(self) -> None:
        """Drop the connection: its client reads a response at less than the minimum rate."""
        _log.info(
            "Dropped {remote}, which reads a response too slowly, after {bytes} bytes",
            remote=getattr(self.peer, "host", "") or "unix",
            bytes=acknowledged_bytes(self.transport),
        )
        if self.phase is ANSWER:
            self._fail_requests(RequestTimeout("The client reads the response too slowly"))
        self.abort()

    def _fail_requests(self, error: AppError) -> None:
        for request in list(self.requests):
            request.fail(error)
            request.cancel()

    def abandon(self, request: Request | Exchange) -> None:
        """Drop the connection in the middle of ``request``, and end the request at once."""
        self._enter(CLOSING)
        self.abort()
        if request in self.requests:
            self.requests.remove(request)
        request.connectionLost(Failure(ConnectionAborted()))

    def expired(self) -> None:
        """Handle the end of this phase's deadline."""
        if self.phase is HEAD:
            self.refuse(RequestTimeout("The request's head did not arrive in time"))
        elif self.phase is BODY:
            self.refuse(RequestTimeout("The request's body did not arrive in time"))
        elif self.is_sending:
            self._enter(self.phase)  # the client is slow, not disconnected
        elif self.phase.between_requests:
            self.close()
        elif self.transport.disconnecting:  # type: ignore[union-attr]
            self.abort()
        else:
            # The client had its time to close first.  The kernel continues to send.
            self._enter(CLOSING)
            self.loseConnection()

    @property
    def is_sending(self) -> bool:
        """True if written data waits for the client to read."""
        return bool(self._waitingForTransport)

    @property
    def in_flight(self) -> bool:
        """True if there is a complete request whose response is not sent yet."""
        return self.is_sending or self.phase is ANSWER

    @property
    def has_input(self) -> bool:
        """True if input has arrived that is not read yet."""
        return bool(self._intake.kept) or bytes_to_read(self.transport) > 0

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        before, self._deadlines = self._deadlines, self.site.deadlines[phase]
        if before is not None and before is not self._deadlines:
            before.stop(self)
        if self._deadlines is not None:
            self._deadlines.start(self)

    # --- input and output, with back-pressure ---

    def dataReceived(self, data: bytes) -> None:
        """Read ``data`` in turn; after the last response only count it."""
        if self.phase is CLOSING:
            self._linger(len(data))
            return
        self._intake.put(data)
        self._read()

    def _take_turn(self) -> None:
        """Read the input that was kept for this turn."""
        self._read()

    def _read(self) -> None:
        """Read the input that has arrived, up to this turn's share."""
        self._intake.read(self._read_piece)
        if self.phase is CLOSING:
            self._linger(len(self._intake.clear()))
        if self._read_all:
            self._act_on_end_of_input()

    @property
    def _is_held_back(self) -> bool:
        """True if no request may begin, because unread responses would accumulate."""
        return self._waitingForTransport and self.phase.between_requests and not self._head_lines

    def _read_piece(self) -> bool:
        """Read a head, or a piece of a body; return False if neither is possible now."""
        if self.phase is BODY:
            self._read_body()
            return True
        if self.phase > BODY or (self._waitingForTransport and self._is_held_back):
            return False
        take_line = self._intake.take_line
        while (line := take_line()) is not None:
            self.lineReceived(line)
            if not self._head_lines or self.phase > HEAD:
                return True
        self._wait_for_head()
        self._check_begun_line()
        return False

    def pauseProducing(self) -> None:
        """Begin no more requests until the client has read what was written."""
        self._waitingForTransport = True
        self.site.send_rate.blocked(self)
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """Continue, now that the client has read what was written."""
        self._waitingForTransport = False
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        self.site.send_rate.freed(self, is_blocked=self._waitingForTransport)
        self._intake.read_later()
        if self._read_all:
            self._act_on_end_of_input()

    def stopProducing(self) -> None:
        """Do nothing yet: :meth:`connectionLost` is called next, and notifies handlers first.

        A producer that ended before its request would look like a failure of the handler.
        """

    # --- the end of input or output ---

    def readConnectionLost(self) -> None:
        """Note that the client will send no more; close once all its input is handled."""
        self._read_all = True
        self._act_on_end_of_input()

    def writeConnectionLost(self) -> None:
        """Wait for the client to close, now that everything is sent."""
        self._waitingForTransport = False
        self._enter(CLOSING)

    def _act_on_end_of_input(self) -> None:
        """Close, once all complete requests are read and responded to.

        An incomplete request gets no response.
        """
        if self.phase is CLOSING:
            self.loseConnection()
        elif self.phase is ANSWER:
            if self._has_left():
                self._leave()
        elif self.phase is not UPGRADED and not (self._is_held_back or self._intake.is_busy):
            self._leave()

    def _has_left(self) -> bool:
        """Return True if a client that sends no more is assumed to have disconnected.

        A half-close and a full close look the same on TCP.  The connection stays open if the client
        marked this request as its last (RFC 9112 section 9.6), or while a large response is being
        sent: if the client has disconnected, writing fails.
        """
        if self.requests[-1].is_delivering:
            return False
        if isinstance(self.peer, UNIXAddress):
            return has_hung_up(self.transport)
        return bool(self.persistent)

    def _leave(self) -> None:
        """Cancel the handlers, and close when everything written is sent."""
        if self.phase is BODY:
            self._log_half_request()
        self._enter(CLOSING)
        self._end_requests(connectionDone)
        self.loseConnection()

    # --- the head ---

    def _wait_for_head(self) -> None:
        """Set a deadline for the rest of a head; most heads arrive whole and need none."""
        if self.phase.between_requests:
            self._enter(HEAD)

    def _check_begun_line(self) -> None:
        """Reject an incomplete line if no valid line can begin like that."""
        if self._intake.search(_NEVER_A_LINE):
            self._refuse_line_end()
        elif self._head_bytes + len(self._intake) > MAX_HEAD_BYTES:
            self._head_lines += 1
            self._refuse_large_head()
        elif not self._head_lines:
            self._check_method(self._intake.peek(MAX_METHOD_BYTES + 1))

    def lineReceived(self, line: bytes) -> None:
        """Check a line of the head for faults that parsing hides, then let Twisted parse it."""
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
        """Ignore one CRLF before a request (RFC 9112 section 2.2)."""
        self._head_lines = 0
        if self._head_bytes > len(b"\r\n"):
            self.refuse(BadRequest("More than one empty line precedes the request"))

    def _check_method(self, line: bytes) -> bool:
        """Return True if the method in ``line``, or in its beginning, is short enough.

        Rejects the request otherwise.
        """
        if len(line) <= MAX_METHOD_BYTES or b" " in line[: MAX_METHOD_BYTES + 1]:
            return True
        self.refuse(BadRequest(f"The request's method is longer than {MAX_METHOD_BYTES} bytes"))
        return False

    def _check_long_field(self, line: bytes) -> bool:
        """Return True if a long field is within the limits; reject the request otherwise."""
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
        """Validate the complete head, before a body is requested or read."""
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
            self._enter(BODY)

    def _send100Continue(self) -> None:
        # Twisted's also sends it if there is no body.
        if self.length != 0:
            super()._send100Continue()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Return True if the connection persists after this request (RFC 9112 section 9.3)."""
        return version == b"HTTP/1.1" and b"close" not in options_in(
            request.requestHeaders, b"Connection"
        )

    def _read_body(self) -> None:
        """Read a piece of a body.  Only framing takes time, so only chunks count as a share."""
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
        """Serve the request; ``rest`` is the input after its body."""
        self._intake.put_back(len(rest))
        self.allContentReceived()

    def allContentReceived(self) -> None:
        """Serve the request, which is complete, unless its response was already sent."""
        if self.phase is CLOSING:
            return
        self._head_bytes = self._head_lines = 0
        self._intake.spend(SHARE // _REQUESTS_PER_TURN)
        self._enter(ANSWER)
        super().allContentReceived()

    # --- a request from another parser ---

    def serve(
        self, request: Request | Exchange, is_persistent: bool, process: Callable[[Any], object]
    ) -> None:
        """Serve a complete request with a valid head, of which Twisted's parser knows nothing.

        ``process`` is called with the request.  There must be no other request, and no input.
        """
        self.requests.append(request)
        self._head_bytes = 0
        self.persistent = is_persistent
        self.phase = ANSWER
        process(request)
        if self.phase is ANSWER:  # else the response is sent, and its deadline is set
            self._enter(ANSWER)

    # --- the response ---

    def make_head(self, version: bytes, code: int, reason: bytes | None, fields: bytes) -> bytes:
        """Return the head of a response, with Date and Connection.

        ``fields`` are lines that end with CRLF; without a ``reason`` it is that of RFC 9110.
        """
        last = b"\r\n"
        if not self.persistent or self.site.draining:
            self.persistent = False
            if self.site.draining and self.phase is ANSWER:
                self.site.finishing(self)
            last = b"Connection: close\r\n\r\n"
        return self.site.first_lines(version, code, reason) + fields + last

    # --- early responses ---

    def refuse(self, error: AppError) -> None:
        """Respond with ``error`` to the input so far, read no more, and close.

        Does nothing if the connection is closing already.
        """
        if self.phase is not CLOSING:
            self._answer_early(refusal=error)

    def overflow(self) -> None:
        """Respond to a request whose body is too large, without reading it, and close."""
        self._answer_early(refusal=None)

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted calls this for every fault that its parser finds.
        self.refuse(BadRequest("The request is malformed"))

    def _answer_early(self, refusal: AppError | None) -> None:
        self._enter(CLOSING)
        if not self.requests:
            self.requests.append(self.requestFactory(self))
        request = self.requests[-1]
        request.refusal = refusal
        request.body_too_large = refusal is None
        # For the log, as much of the request line as could be read.
        request.method = getattr(self, "_command", b"-")
        request.uri = getattr(self, "_path", b"-")
        # A target in another form may contain a user's password.
        is_path = request.uri.startswith(b"/")
        request.path = request.uri.partition(b"?")[0] if is_path else b"-"
        request.clientproto = b"HTTP/1.1"
        request.args = {}
        if request.content is None:
            request.content = io.BytesIO()
        self.persistent = False
        request.process()

    # --- another protocol ---

    def release(self) -> Any:
        """Detach the transport and return it, for another protocol (RFC 9110 section 7.8)."""
        self._enter(UPGRADED)
        self.site.send_rate.stop(self)
        transport: Any = self.transport
        transport.unregisterProducer()
        self.site.closed(self)
        return transport

    def hand_over(self, successor: IProtocol) -> None:
        """Pass ``successor`` the input that has arrived after the upgrade request."""
        early = self._intake.stop()
        if early:
            successor.dataReceived(early)

    # --- the end of a request ---

    def requestDone(self, request: Request | Exchange) -> None:
        """Begin the next request, or close: gently if the client may still be sending."""
        if self.phase <= ANSWER and self.persistent and not self.site.draining:
            self.requests.remove(request)
            self._enter(IDLE)
            if self._intake.kept or self._read_all:
                self._continue()
        elif self.phase is UPGRADED:
            self.requests.clear()
        elif self.phase is CLOSING:
            del self.requests[0]
            self._close_gently()
        else:
            # A response that began before the drain had no Connection: close.
            self.persistent = False
            self.requests.remove(request)
            self.close()

    def _continue(self) -> None:
        """Continue with the input that was kept meanwhile, or with its end."""
        self._intake.read_later()
        if self._read_all:
            self._act_on_end_of_input()

    def _close_gently(self) -> None:
        """Half-close after everything written; read on, within bounds, until the client closes.

        Closing with unread input would reset the connection, and lose data that is being sent (RFC
        9112 section 9.6).
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
