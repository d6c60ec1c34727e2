"""A WebSocket client in memory, which can also do what no client should."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from klein import Klein

from tests.memory import App, AppTestCase, Connection, Response
from x121.ws.messages import Handlers
from x121.ws.router import WsRouter

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "WebSocket",
    "WebSocketTestCase",
    "client_frame",
    "handshake",
    "server_frames",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = base64.b64encode(b"sixteen bytes ok").decode()
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


@dataclass(frozen=True)
class Frame:
    """A frame from the server."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """A close frame's code."""
        (code,) = struct.unpack_from("!H", self.payload)
        return int(code)


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """Return a frame as a client sends it (RFC 6455 section 5.2)."""
    length = len(payload)
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([masked << 7 | length])
    elif length < 65_536:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    repeated = (mask * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + number.to_bytes(length, "big")


def server_frames(data: bytes) -> list[Frame]:
    """Return the frames that ``data`` is, which are whole, final and not masked."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80
        size, offset = data[1], 2
        if size == 126:
            (size,) = struct.unpack_from("!H", data, 2)
            offset = 4
        elif size == 127:
            (size,) = struct.unpack_from("!Q", data, 2)
            offset = 10
        assert len(data) >= offset + size
        frames.append(Frame(data[0] & 15, data[offset : offset + size]))
        data = data[offset + size :]
    return frames


def handshake(path: str = "/ws", headers: Mapping[str, str | None] | None = None) -> bytes:
    """Return a handshake; ``headers`` are added to it, and taken out of it where they are None."""
    lines = {"Host": "example.com", **HANDSHAKE, **(headers or {})}
    head = f"GET {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return head.encode("latin-1") + b"\r\n"


class WebSocket:
    """A client whose handshake was accepted, with the answer ``response``."""

    def __init__(
        self, app: App, path: str, headers: Mapping[str, str | None] | None = None
    ) -> None:
        self.app = app
        self.connection = Connection(app)
        self.connection.send(handshake(path, headers))
        self.response: Response = self.connection.response()
        assert self.response.status == 101, self.response
        self.id: str = self.protocol.connection.id

    # --- sending ---

    def send(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        """Send one frame."""
        self.connection.send(client_frame(opcode, payload, **how))

    def say(self, message_type: str, message_id: Any = None, data: Any = None) -> None:
        """Send a message of ``/ws``."""
        fields = {"type": message_type, "id": message_id, "data": data}
        self.send(TEXT, json.dumps(fields).encode())

    def close(self, code: int = 1000) -> None:
        """Send a close frame."""
        self.send(CLOSE, struct.pack("!H", code))

    # --- receiving ---

    def frames(self) -> list[Frame]:
        """Take the frames that have come."""
        data = self.connection.received
        self.connection.transport.clear()
        return server_frames(data)

    def messages(self) -> list[Any]:
        """Take the messages that have come, and nothing else may have."""
        frames = self.frames()
        assert all(frame.opcode == TEXT for frame in frames), frames
        return [json.loads(frame.payload) for frame in frames]

    # --- the server's side ---

    @property
    def protocol(self) -> Any:
        """The server's protocol."""
        return self.connection.transport.protocol

    @property
    def outbox(self) -> Any:
        """The server's outbox, which the transport tells when it has enough."""
        return self.connection.transport.producer

    @property
    def is_paused(self) -> bool:
        """Whether the server doesn't read."""
        return bool(self.connection.transport.producerState == "paused")

    def take_nothing(self) -> None:
        """Be a client that doesn't read, whose transport has enough."""
        self.outbox.pauseProducing()
        self.connection.transport.full = True


class WebSocketTestCase(AppTestCase):
    """A test with a server in memory, and clients."""

    way = "fast"
    """What ``X121_WEBSOCKET`` is for the servers."""

    def app(self, feature: Klein | Callable[[App], Klein] | None = None, **environ: str) -> App:
        """Return a server; see :class:`App`."""
        return super().app(feature, **{"X121_WEBSOCKET": self.way, **environ})

    def serve(self, feature: Callable[[App], Handlers], **environ: str) -> App:
        """Return a server that answers the messages of ``feature`` at ``/test``."""

        def router(app: App) -> Any:
            websockets = WsRouter(app.state.config, app.state.ws_manager)
            return websockets.nest(feature(app)).routes

        return self.app(router, **environ)

    def connect(
        self, app: App, path: str = "/ws", headers: Mapping[str, str | None] | None = None
    ) -> WebSocket:
        """Return a client that was welcomed."""
        client = WebSocket(app, path, headers)
        if path != "/ws/echo":
            (welcome,) = client.messages()
            self.assertEqual(welcome, {"type": "welcome", "data": {"connection_id": client.id}})
        return client

    def assertClosed(self, client: WebSocket, code: int) -> None:
        """Fail unless the one thing that came is a close frame with ``code``."""
        frames = client.frames()
        self.assertEqual([frame.opcode for frame in frames], [CLOSE], frames)
        self.assertEqual(frames[0].code, code)
