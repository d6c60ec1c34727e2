"""One WebSocket, spoken by Autobahn, within limits.

What comes in goes through the :mod:`reader`, and as messages, which come from its fast lane or from
Autobahn, through the :mod:`inbox` to an :class:`Endpoint`; what goes out through the :mod:`outbox`.
Autobahn also keeps the state of RFC 6455.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from x121.config import WsConfig
from x121.core.coroutines import run_eagerly
from x121.core.deadlines import Deadlines
from x121.core.ids import make_id
from x121.core.types import DbId
from x121.logs import CONNECTION_ID
from x121.ws.connection import WsConnection
from x121.ws.inbox import Inbox
from x121.ws.manager import WsManager
from x121.ws.options import Options
from x121.ws.outbox import Outbox
from x121.ws.reader import FrameReader

__all__ = ["CLOSE_TIMEOUT_SECS", "Accepted", "Endpoint", "WsFactory", "WsProtocol"]

_log = Logger(namespace="x121.ws")

CLOSE_TIMEOUT_SECS = 5.0
"""How long a peer may take to answer a close frame, and to take what is on its way to it."""

# Frames cost something each, however small; nobody has a reason to cut a message finer.
_FREE_FRAMES = 1024
_MIN_BYTES_A_FRAME = 64

# After a fault this much is read and thrown away, so that the peer gets to read the close frame.
_MAX_LINGER_BYTES = 64 << 20

_FAILED = "The endpoint of a WebSocket failed"

# Logged, never sent: a close frame without a code, and no close frame (RFC 6455 section 7.4.1).
_NO_STATUS = 1005
_ABNORMAL = 1006

# What is kept of a handshake, and nobody reads again: a third of an idle connection's memory.
_OF_THE_HANDSHAKE = (
    "_accepted",
    "_transport_details",
    "_wskey",
    "http_headers",
    "http_request_data",
    "http_request_host",
    "http_request_params",
    "http_request_path",
    "http_request_uri",
    "http_response_data",
    "http_status_line",
    "send_queue",  # of a way to write that sendData doesn't have
    "websocket_extensions",
    "websocket_extensions_in_use",
    "websocket_protocols",
)


class Endpoint(Protocol):
    """What is done with the messages that come to one path."""

    takes_events: bool
    """Whether its connections get the manager's events."""

    def opened(self, connection: WsConnection) -> None:
        """Greet a new connection."""

    def received(
        self, connection: WsConnection, payload: bytes, is_binary: bool
    ) -> Coroutine[Any, Any, object] | Deferred[Any] | None:
        """Handle a message: at once, or until what is returned is done.

        Text is valid UTF-8.  What is raised is logged, and closes the connection with 1011.
        """


@dataclass(frozen=True)
class Accepted:
    """A handshake that was accepted: whose it is, its request's id, and headers of its answer."""

    user_id: DbId | None
    request_id: str
    headers: Headers


class WsProtocol(Options, WebSocketServerProtocol):  # type: ignore[misc]  # the types of the options
    """A connection's protocol, and the :class:`~x121.ws.connection.Transport` beneath it."""

    transport: Any  # a TCP transport; Autobahn's type lacks what those can do
    connection: WsConnection

    def __init__(self, factory: WsFactory, endpoint: Endpoint, accepted: Accepted) -> None:
        super().__init__()
        max_bytes = factory.config.max_message_bytes
        self.factory = factory
        self.maxMessagePayloadSize = max_bytes
        self._most_frames = _FREE_FRAMES + max_bytes // _MIN_BYTES_A_FRAME
        self._endpoint = endpoint
        self._accepted = accepted
        self._context = Context()
        self._code = _ABNORMAL
        self._message = bytearray()
        self._lingered_bytes = 0
        self._is_heard = True
        self._is_leaving = False
        self._peer_is_done = False

    # --- the connection --------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin on a transport that has no producer."""
        config = self.factory.config
        self._reader = FrameReader(
            self.transport,
            self,
            self.factory.manager.clock,
            max_fast_bytes=config.max_message_bytes if config.fast_frames else -1,
        )
        self._inbox = Inbox(
            self._may_answer, self._reader.read_later, max_bytes=config.max_message_bytes
        )
        self._outbox = Outbox(self.transport, self._taken, max_bytes=config.send_buffer_bytes)
        super().connectionMade()

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Accept the handshake, with no subprotocol."""
        return None, {
            name.decode("latin-1"): [value.decode("latin-1") for value in values]
            for name, values in self._accepted.headers.getAllRawHeaders()
        }

    def onOpen(self) -> None:
        """Make the connection known, and greet it."""
        accepted = self._accepted
        for name in _OF_THE_HANDSHAKE:
            self.__dict__.pop(name, None)
        manager = self.factory.manager
        self.connection = WsConnection(
            make_id(),
            self,
            user_id=accepted.user_id,
            connected_at=datetime.fromtimestamp(manager.now(), UTC),
            takes_events=self._endpoint.takes_events,
        )
        self._opened_at = manager.clock.seconds()
        self._context.run(CONNECTION_ID.set, self.connection.id)
        self._log("WebSocket connected", request_id=accepted.request_id)
        try:
            manager.add(self.connection)
            self._endpoint.opened(self.connection)
        except Exception:
            self._failed(Failure(), self.connection)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Forget the connection, which is gone: what its client waited for is cancelled."""
        manager, connection = self.factory.manager, self.connection
        self.factory.closing.stop(self)
        self._reader.stop()
        manager.remove(connection.id)
        self._inbox.close()
        self._outbox.close()
        seconds = manager.clock.seconds() - self._opened_at
        self._log(
            "WebSocket closed with {code} after {seconds} s",
            code=self._code,
            seconds=round(seconds, 3),
        )
        connection.gone()
        # Else these would hold one another until the garbage collector comes.
        del self.connection, self.is_closed

    def _log(self, line: str, **fields: object) -> None:
        connection = self.connection
        _log.info(line, connection_id=connection.id, user_id=connection.user_id, **fields)

    def _failed(self, failure: Failure, connection: WsConnection) -> None:
        """Log what the endpoint did not expect, and close: the client may wait for an answer."""
        if not failure.check(CancelledError):
            _log.failure(_FAILED, failure, LogLevel.error, connection_id=connection.id)
            self.end(1011, "Internal server error")

    # --- what comes in ---------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take ``data`` in; behind a close frame or a fault there is nothing."""
        self._is_heard = True
        if self.state == self.STATE_CONNECTING:
            self._dataReceived(data)
        elif self.failedByMe:
            self._linger(len(data))
        else:
            self._reader.put(data)

    def may_read(self) -> bool:
        """Whether another message may wait."""
        return not self._inbox.is_full

    def take(self, payload: bytes, is_binary: bool) -> None:
        """Have a message handled, unless it can't be answered any more."""
        if self.state == self.STATE_OPEN:
            self._inbox.put(self._handle, len(payload), payload, is_binary)

    def feed(self, piece: bytes) -> None:
        """Let Autobahn take a frame, or a part of one, apart."""
        self.data += piece
        while self.processData() and not self.failedByMe:
            pass

    def look_at(self, head: bytes) -> None:
        """Let Autobahn refuse a frame of whose head there is only a part.

        A part that is in order it would keep for when there is more; but who has it is the reader.
        """
        self.data = head
        self.processData()
        self.data = b""

    def _linger(self, received: int) -> None:
        self._lingered_bytes += received
        if self._lingered_bytes > _MAX_LINGER_BYTES:
            self.connection.abort()

    def onMessageBegin(self, isBinary: bool) -> None:
        """Begin a message, which is kept in one piece however many frames it comes in."""
        self._is_binary = isBinary
        self._message = bytearray()
        self._frames = 0

    def onMessageFrameBegin(self, length: int) -> None:
        """Refuse a message that grows too large, before its frame has come in."""
        self._frames += 1
        if len(self._message) + length > self.maxMessagePayloadSize:
            self._fail_connection(1009, f"over {self.maxMessagePayloadSize} bytes")
        elif self._frames > self._most_frames:
            self._fail_connection(1009, f"over {self._most_frames} frames")

    def onMessageFrameData(self, payload: bytes) -> None:
        """Keep a part of a frame."""
        if not self.failedByMe:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """Go on: the message alone counts."""

    def onMessageEnd(self) -> None:
        """Take the message, which is whole."""
        payload = bytes(self._message)
        self._message = bytearray()
        self.take(payload, self._is_binary)

    def _may_answer(self) -> bool:
        """Whether the next message may be handled: the peer has taken the answers before.

        One that leaves is not waited for.
        """
        return self._is_leaving or self._peer_is_done or not self._outbox.is_paused

    def _taken(self) -> None:
        """Go on: the peer has taken what was sent, which is a sign of life, too."""
        self._is_heard = True
        self._inbox.go_on()

    def _handle(self, payload: bytes, is_binary: bool) -> Deferred[Any] | None:
        """Give a message to the endpoint, in a context of its own that knows the connection."""
        connection = self.connection
        context = self._context.copy()
        try:
            handling: Any = context.run(self._endpoint.received, connection, payload, is_binary)
            if handling is None:
                return None
            if not isinstance(handling, Deferred):
                handling = context.run(run_eagerly, handling)
        except BaseException:
            self._failed(Failure(), connection)
            return None
        if isinstance(handling, Deferred):
            return handling.addErrback(self._failed, connection)
        return None

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> None:
        """Close: at once if this answers our own close frame, else when messages are answered."""
        self._peer_is_done = True
        self._reader.stop()
        if self.can_send:
            self._code = code or _NO_STATUS
            self._inbox.put(partial(self._complete_close, code, reasonRaw))
        else:
            self._complete_close(code, reasonRaw)

    def _complete_close(self, code: Any, reason: Any) -> None:
        super().onCloseFrame(code, reason)

    # --- what goes out ---------------------------------------------------------------------

    @property
    def can_send(self) -> bool:
        """Whether the handshake is done, and no close frame was sent yet."""
        return bool(self.state == self.STATE_OPEN)

    @property
    def waiting_bytes(self) -> int:
        """How much of what was sent is held back, because the peer doesn't take it."""
        return self._outbox.waiting_bytes

    def send_frame(self, frame: bytes) -> bool:
        """Send a whole frame, if the connection is open; return whether it still is."""
        if self.state != self.STATE_OPEN:
            return False
        if self._outbox.write(frame):
            return True
        self._give_up_on_reader()
        return False

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Write ``data``, which is Autobahn's."""
        if not self._outbox.write(data):
            self._give_up_on_reader()

    def _give_up_on_reader(self) -> None:
        """Close, as the peer doesn't take what waits."""
        self._outbox.drop()
        self.end(1013, "Too slow: too much is waiting")

    # --- the end ---------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """Send a close frame now, unless one was sent."""
        if self.can_send:
            self.sendCloseFrame(code, encode_truncate(reason, 123))
            if self._peer_is_done:
                self.dropConnection()  # its close frame is here already, behind what waited

    def close_after_replies(self) -> None:
        """Close with 1001 when the messages before this are answered."""
        self._is_leaving = True
        self._inbox.put(partial(self.end, 1001, "The server is shutting down"))

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a close frame, and give the peer some time from now on.

        Messages that wait can't be answered any more; but the peer's own close frame, which is
        somewhere behind them, has to be read.
        """
        if self.can_send and not self._peer_is_done:
            self._code = code or _NO_STATUS
        self._outbox.make_room()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self.factory.closing.start(self)
        self._inbox.forget()

    def _closeConnection(self, abort: bool = False) -> None:
        """Close when all is sent.

        Autobahn would abort after a closing handshake that it began, and with that throw away
        its own close frame.
        """
        self._outbox.flush()
        self.transport.loseConnection()

    def unregisterProducer(self) -> None:
        """Leave that to the outbox, which is the producer."""

    def abort(self) -> None:
        """Drop the connection at once: nothing more is read, handled or sent."""
        self.state = self.STATE_CLOSED
        self._reader.stop()
        self._inbox.forget()
        self.transport.abortConnection()

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        """End with ``code``, and process nothing more (RFC 6455 section 7.1.7).

        What still comes is read and thrown away: to close on it would reset the connection, and
        the peer might never see the code.
        """
        if self.failedByMe:
            return
        self.failedByMe = True
        self.end(code, reason)
        self._code = code
        self._reader.stop()
        self._outbox.flush()
        self.transport.loseWriteConnection()

    # --- the heartbeat ---------------------------------------------------------------------

    def ping(self) -> None:
        """Send a ping, if the connection is open."""
        self.sendPing()

    def expect_activity(self) -> None:
        """Wait for a sign of life."""
        self._is_heard = False

    def is_alive(self) -> bool:
        """Whether bytes have come, or none can: the peer is done, or we don't read.

        That is no excuse for one that doesn't read either.
        """
        can_speak = self.can_send and not self._peer_is_done
        is_unheard = self._reader.is_paused and not self._outbox.is_paused
        return self._is_heard or is_unheard or not can_speak

    def fail_ping(self) -> None:
        """Send 1011, then drop the connection."""
        self.end(1011, "No answer to a ping")
        self.dropConnection()


class WsFactory(WebSocketServerFactory):
    """What the connections share: limits, the manager, and the deadlines of those that close."""

    def __init__(self, config: WsConfig, manager: WsManager) -> None:
        super().__init__(server=None, reactor=manager.clock)
        self.config = config
        self.manager = manager
        self.closing: Deadlines[WsProtocol] = Deadlines(
            CLOSE_TIMEOUT_SECS, _give_up, clock=manager.clock
        )


def _give_up(protocol: WsProtocol) -> None:
    protocol.connection.abort()
