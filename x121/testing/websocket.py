"""WebSocket client in memory."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from x121.testing.connection import Connection, Response
from x121.testing.frames import CLOSE, PING, PONG, TEXT, Frame, client_frame, handshake
from x121.testing.frames import server_frames as frames_in

__all__ = ["Closed", "ErrorReply", "HandshakeRejected", "WebSocket"]

Until = Callable[[Callable[[], Any], str], Deferred[Any]]
"""Function that waits for a condition; see :meth:`~x121.testing.app.App.until`."""

_NORMAL = 1000


class HandshakeRejected(AssertionError):
    """Raised when the handshake was rejected with ``response``."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the handshake got {response.status}: {response.body.decode()}")
        self.response = response


class Closed(AssertionError):
    """Raised when the server has closed the WebSocket, with ``code``."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server has closed the WebSocket: {code}")
        self.code = code


class ErrorReply(Exception):
    """Raised when the reply to a message is an error: its ``error``, ``code`` and ``details``."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__(f"{message['code']}: {message['error']}")
        self.error: str = message["error"]
        self.code: str = message["code"]
        self.details: list[Any] = message.get("details", [])


class WebSocket:
    """Client that has sent its handshake; call :meth:`begin` once the response is there.

    Pings are answered when the test reads messages; browsers do that by themselves.
    """

    def __init__(
        self,
        connection: Connection,
        until: Until,
        path: str = "/ws",
        headers: Mapping[str, str | None] | None = None,
    ) -> None:
        self.connection = connection
        self.response: Response
        self.id = ""
        """The server's id of the connection."""
        self._until = until
        self._ids = (f"ask {number}" for number in itertools.count(1))
        self._came: list[Frame] = []
        self._told_code: int | None = None
        connection.send(handshake(path, headers))

    def begin(self, response: Response | None = None) -> None:
        """Read the response to the handshake.

        Raises :class:`HandshakeRejected`, and an :class:`AssertionError` if there is no response.
        """
        self.response = response or self.connection.response()
        if self.response.status != 101:
            raise HandshakeRejected(self.response)
        self.id = self.connection.transport.protocol.connection.id

    def take_welcome(self) -> None:
        """Take the welcome message if it is the first one; ``/ws`` sends one."""
        self._read()
        if self._came and _event_type(self._came[0]) == "welcome":
            del self._came[0]

    # --- sending ---

    def send_message(self, message_type: str, message_id: Any = None, data: Any = None) -> None:
        """Send a message in the format of ``/ws``."""
        fields = {"type": message_type, "id": message_id, "data": data}
        self.send(TEXT, json.dumps(fields).encode())

    def send(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        """Send one frame; see :func:`~x121.testing.frames.client_frame`."""
        self.connection.send(client_frame(opcode, payload, **how))

    def close(self, code: int = _NORMAL) -> None:
        """Send a close frame, to start the close handshake or to complete the server's."""
        self.send(CLOSE, struct.pack("!H", code))

    def disconnect(self) -> None:
        """Disconnect without a close frame, like a client whose network fails."""
        self.connection.disconnect()

    # --- received already ---

    def frames(self) -> list[Frame]:
        """Take all received frames, of every kind."""
        self._read()
        came, self._came = self._came, []
        return came

    def messages(self) -> list[Any]:
        """Take all received messages.

        Raises :class:`Closed` if the server has closed, unless :attr:`close_code` was read.
        """
        self._read()
        self._answer_pings()
        if self._told_code is None and (code := self._code()) is not None:
            raise Closed(code)
        frames = [frame for frame in self.frames() if frame.opcode != CLOSE]
        assert all(frame.opcode == TEXT for frame in frames), frames
        return [json.loads(frame.payload) for frame in frames]

    @property
    def close_code(self) -> int | None:
        """Code that the server has closed with, or None.

        Messages that came before the close can still be taken. The connection ends when
        :meth:`close` responds to the close.
        """
        self._read()
        if self._told_code is None:
            self._told_code = self._code()
        return self._told_code

    @property
    def closed(self) -> bool:
        """True if the server has ended the connection."""
        return self.connection.closed

    # --- still to come ---

    def send_request(self, message_type: str, data: Any = None) -> Deferred[Any]:
        """Send a message and return a Deferred of its reply's data.

        Events that come before the reply are kept for :meth:`next`. Fails with :class:`ErrorReply`
        if the reply is an error, with :class:`Closed`, and with an :class:`AssertionError` if there
        is no reply.
        """
        message_id = next(self._ids)
        self.send_message(message_type, message_id, data)
        answer = self._until(
            lambda: self._find(lambda message: message.get("id") == message_id),
            f"no reply to {message_type!r}",
        )
        return answer.addCallback(_data_of)

    def next(self, event_type: str | None = None) -> Deferred[dict[str, Any]]:
        """Return a Deferred of the next event, or the next one of ``event_type``.

        The event is a dict with ``type`` and ``data``. Events of other types are kept. Fails as
        :meth:`send_request` does.
        """

        def is_it(message: dict[str, Any]) -> bool:
            return "id" not in message and event_type in (None, message["type"])

        what = "no event" if event_type is None else f"no event {event_type!r}"
        return self._until(lambda: self._find(is_it), what)

    # --- inside ---

    def _read(self) -> None:
        """Take the bytes that have arrived on the connection."""
        received = self.connection.received
        self.connection.transport.clear()
        self._came += frames_in(received)

    def _answer_pings(self) -> None:
        pings = [frame for frame in self._came if frame.opcode == PING]
        self._came = [frame for frame in self._came if frame.opcode != PING]
        for ping in pings:
            self.send(PONG, ping.payload)

    def _code(self) -> int | None:
        return next((frame.code for frame in self._came if frame.opcode == CLOSE), None)

    def _find(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Take the first matching message; raise :class:`Closed` if none will come."""
        self._read()
        self._answer_pings()
        for index, frame in enumerate(self._came):
            message: dict[str, Any] = json.loads(frame.payload) if frame.opcode == TEXT else {}
            if message and is_it(message):
                del self._came[index]
                return message
        if (code := self._code()) is not None:
            raise Closed(code)
        return None


def _event_type(frame: Frame) -> str | None:
    return json.loads(frame.payload).get("type") if frame.opcode == TEXT else None


def _data_of(answer: dict[str, Any]) -> Any:
    if answer["type"] == "error":
        raise ErrorReply(answer)
    return answer["data"]
