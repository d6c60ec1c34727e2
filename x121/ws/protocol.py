"""WebSocket protocol of one connection: Autobahn's, with limits.

Incoming bytes go through the :mod:`reader`.  Messages, from its fast path or from Autobahn, go
through the :mod:`inbox` to an :class:`Endpoint`.  Outgoing frames go through the :mod:`outbox`.
Autobahn also keeps the connection's state as in RFC 6455.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
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
from x121.ws.outbox import PIECE_BYTES, Outbox
from x121.ws.reader import FrameReader

__all__ = ["CLOSE_TIMEOUT_SECS", "Accepted", "Endpoint", "WsFactory", "WsProtocol"]

_log = Logger(namespace="x121.ws")

CLOSE_TIMEOUT_SECS = 5.0
"""The time that a peer has to read what was sent, and to answer a close frame."""

# Each frame has a cost, however small it is; no client has a reason to split a message finer.
_FREE_FRAMES = 1024
_MIN_BYTES_A_FRAME = 64

# After a protocol error this much is read and discarded, so that the peer can read the close frame.
_MAX_LINGER_BYTES = 64 << 20

# Autobahn's states.  Looking them up in its classes takes longer.
_CONNECTING = WebSocketServerProtocol.STATE_CONNECTING
_OPEN = WebSocketServerProtocol.STATE_OPEN

_FAILED = "The endpoint of a WebSocket failed"

# Logged, never sent: a close frame without a code, or no close frame (RFC 6455 section 7.4.1).
_NO_STATUS = 1005
_ABNORMAL = 1006

# Attributes that Autobahn keeps of a handshake without reading them again: a third of an idle
# connection's memory.
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
    "send_queue",  # only Autobahn's own sendData uses it
    "websocket_extensions",
    "websocket_extensions_in_use",
    "websocket_protocols",
)


class Endpoint(Protocol):
    """Handler of the connections and messages at one path."""

    takes_events: bool
    """True if its connections get the manager's events."""

    def opened(self, connection: WsConnection) -> None:
        """Handle a new connection, such as by sending a first message."""

    def received(
        self, connection: WsConnection, payload: bytes, is_binary: bool
    ) -> Coroutine[Any, Any, object] | Deferred[Any] | None:
        """Handle a message; it is done on return, or when the returned awaitable is done.

        Text is valid UTF-8.  An exception is logged, and closes the connection with 1011.
        """


@dataclass(frozen=True)
class Accepted:
    """An accepted handshake: its user, its request id, its key, and the headers of its response."""

    user_id: DbId | None
    request_id: str
    key: bytes
    headers: Headers


class WsProtocol(Options, WebSocketServerProtocol):  # type: ignore[misc]  # the types of the options
    """Protocol of a connection, which is its :class:`~x121.ws.connection.Transport`, too."""

    transport: Any  # a TCP transport; Autobahn's type lacks its methods
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
        self._peer_is_done = False

    # --- the connection --------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Set up reader, inbox and outbox on a transport that has no producer."""
        config = self.factory.config
        self._outbox = Outbox(self.transport, self._taken, max_bytes=config.send_buffer_bytes)
        self._inbox = Inbox(self._outbox, self._read_on, max_bytes=config.max_message_bytes)
        self._reader = FrameReader(
            self.transport,
            self,
            self._inbox,
            self.factory.manager.clock,
            max_fast_bytes=config.max_message_bytes if config.fast_frames else -1,
        )
        super().connectionMade()

    def processHandshake(self) -> None:
        """Send the response: :mod:`x121.ws.handshake` has judged the request.

        With ``X121_WEBSOCKET=stock`` Autobahn judges it, too; the response is the same.
        """
        if not self.factory.config.fast_frames:
            super().processHandshake()
            return
        self.data = b""
        self.websocket_version = 13
        self.websocket_protocols = []
        self.websocket_extensions = []
        self._wskey = self._accepted.key.decode()
        self.succeedHandshake(self.onConnect(None))

    def onConnect(self, request: ConnectionRequest | None) -> Any:
        """Accept the handshake, without a subprotocol."""
        return None, {
            name.decode("latin-1"): [value.decode("latin-1") for value in values]
            for name, values in self._accepted.headers.getAllRawHeaders()
        }

    def onOpen(self) -> None:
        """Add the connection to the manager, and call the endpoint."""
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
        """Remove the closed connection, and cancel the handler that its client waits for."""
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
        # These are reference cycles, which would last until the garbage collector runs.
        del self.connection, self.is_closed

    def _log(self, line: str, **fields: object) -> None:
        connection = self.connection
        _log.info(line, connection_id=connection.id, user_id=connection.user_id, **fields)

    def _failed(self, failure: Failure, connection: WsConnection) -> None:
        """Log an endpoint's exception, and close: the client may wait for a reply."""
        if not failure.check(CancelledError):
            _log.failure(_FAILED, failure, LogLevel.error, connection_id=connection.id)
            self.end(1011, "Internal server error")

    # --- incoming --------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Read ``data``; what follows a close frame or a protocol error is discarded."""
        self._is_heard = True
        state = self.state
        if state == _CONNECTING:
            self._dataReceived(data)
        elif state != _OPEN and self.failedByMe:
            self._linger(len(data))
        else:
            self._reader.put(data)

    def take(self, payload: bytes, is_binary: bool) -> None:
        """Queue a message, unless its reply could no longer be sent."""
        if self.state == _OPEN:
            self._inbox.put(self._handle, (payload, is_binary), len(payload))

    def feed(self, piece: bytes) -> None:
        """Let Autobahn parse a frame, or a piece of one."""
        self.data += piece
        while self.processData() and not self.failedByMe:
            pass

    def look_at(self, head: bytes) -> None:
        """Let Autobahn reject a frame whose head is incomplete.

        Autobahn would keep a valid part until more arrives, but the reader keeps it already.
        """
        self.data = head
        self.processData()
        self.data = b""

    def _linger(self, received: int) -> None:
        self._lingered_bytes += received
        if self._lingered_bytes > _MAX_LINGER_BYTES:
            self.connection.abort()

    def onMessageBegin(self, isBinary: bool) -> None:
        """Begin a message, which is assembled in one buffer from all its frames."""
        self._is_binary = isBinary
        self._message = bytearray()
        self._frames = 0

    def onMessageFrameBegin(self, length: int) -> None:
        """Reject a message that becomes too large, before its frame has arrived."""
        self._frames += 1
        if len(self._message) + length > self.maxMessagePayloadSize:
            self._fail_connection(1009, f"over {self.maxMessagePayloadSize} bytes")
        elif self._frames > self._most_frames:
            self._fail_connection(1009, f"over {self._most_frames} frames")

    def onMessageFrameData(self, payload: bytes) -> None:
        """Append a piece of a frame to the message."""
        if not self.failedByMe:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """Do nothing: only the whole message is handled."""

    def onMessageEnd(self) -> None:
        """Queue the complete message."""
        payload = bytes(self._message)
        self._message = bytearray()
        self.take(payload, self._is_binary)

    def _read_on(self) -> None:
        self._reader.read_later()

    def _taken(self) -> None:
        """Continue: the peer has read what was sent, which is a sign of life, too."""
        self._is_heard = True
        self._inbox.go_on()

    def _handle(self, message: tuple[bytes, bool]) -> Deferred[Any] | None:
        """Call the endpoint with a message, in a separate context that has the connection's id."""
        payload, is_binary = message
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
        """Close: at once if the server's close frame was sent, else after the pending replies."""
        self._peer_is_done = True
        self._reader.stop()
        self._inbox.hurry()
        if self.can_send:
            self._code = code or _NO_STATUS
            self._inbox.put(self._complete_close, (code, reasonRaw))
        else:
            self._complete_close((code, reasonRaw))

    def _complete_close(self, frame: tuple[Any, Any]) -> None:
        super().onCloseFrame(*frame)

    # --- outgoing --------------------------------------------------------------------------

    @property
    def can_send(self) -> bool:
        """True from the end of the handshake until a close frame is sent."""
        return bool(self.state == _OPEN)

    @property
    def waiting_bytes(self) -> int:
        """The number of buffered bytes, which the peer doesn't read fast enough."""
        return self._outbox.waiting_bytes

    def send_frame(self, frame: bytes) -> bool:
        """Send a whole frame, if the connection is open; return True if it still is."""
        if self.state != _OPEN:
            return False
        outbox = self._outbox
        if not outbox.is_paused and len(frame) <= PIECE_BYTES:
            self.transport.write(frame)  # as the outbox does: a broadcast saves many calls
            return True
        if outbox.write(frame):
            return True
        self._give_up_on_reader()
        return False

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Write ``data``, a frame of Autobahn's."""
        if not self._outbox.write(data):
            self._give_up_on_reader()

    def _give_up_on_reader(self) -> None:
        """Close the connection: its peer reads too slowly."""
        self._outbox.drop()
        self.end(1013, "Too slow: too much is waiting")

    # --- closing ---------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """Send a close frame now, unless one was sent."""
        if self.can_send:
            self.sendCloseFrame(code, encode_truncate(reason, 123))
            if self._peer_is_done:
                self.dropConnection()  # its close frame came before, behind the waiting messages

    def close_after_replies(self) -> None:
        """Close with 1001 when the messages before this have their replies."""
        self._inbox.hurry()
        self._inbox.put(self._leave)

    def _leave(self, _: None) -> None:
        self.end(1001, "The server is shutting down")

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Send a close frame, and start the peer's close timeout.

        Waiting messages are discarded, because no reply can be sent any more.  Reading continues:
        the peer's close frame is behind them.
        """
        if self.can_send and not self._peer_is_done:
            self._code = code or _NO_STATUS
        self._outbox.make_room()
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self.factory.closing.start(self)
        self._inbox.forget()

    def _closeConnection(self, abort: bool = False) -> None:
        """Close when everything is sent.

        Autobahn would abort after a closing handshake that it began, and so discard its own close
        frame.
        """
        self._outbox.flush()
        self.transport.loseConnection()

    def unregisterProducer(self) -> None:
        """Do nothing: the outbox is the producer, and unregisters itself."""

    def abort(self) -> None:
        """Drop the connection at once, without reading, handling or sending anything more."""
        self.state = self.STATE_CLOSED
        self._reader.stop()
        self._inbox.forget()
        self.transport.abortConnection()

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        """Close with ``code``, and process nothing more (RFC 6455 section 7.1.7).

        Further bytes are read and discarded.  Closing the socket with unread bytes would reset the
        connection, and the peer might never see the code.
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
        """Return True if bytes have arrived, or none can: a side is closing, or reading is paused.

        Paused reading is no excuse for a peer that doesn't read either.
        """
        can_speak = self.can_send and not self._peer_is_done
        is_unheard = self._reader.is_paused and not self._outbox.is_paused
        return self._is_heard or is_unheard or not can_speak

    def fail_ping(self) -> None:
        """Send 1011, then drop the connection."""
        self.end(1011, "No pong within the timeout")
        self.dropConnection()


class WsFactory(WebSocketServerFactory):
    """Shared state of all connections: limits, the manager, and the deadlines for closing."""

    def __init__(self, config: WsConfig, manager: WsManager) -> None:
        super().__init__(server=None, reactor=manager.clock)
        self.config = config
        self.manager = manager
        self.closing: Deadlines[WsProtocol] = Deadlines(
            CLOSE_TIMEOUT_SECS, _give_up, clock=manager.clock
        )


def _give_up(protocol: WsProtocol) -> None:
    protocol.connection.abort()
