"""Clients of the WebSocket side: one like any other, and one that does only what it is told.

Both block, within the deadline of :mod:`tests.process.server`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.process.server import DEADLINE_SECS, HOST, ServerProcess
from x121.testing.frames import CLOSE, Frame, client_frame, handshake

__all__ = ["Client", "RawClient", "connect"]


class Client:
    """The client of the package websockets: it answers pings and close frames by itself."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @property
    def request_id(self) -> str:
        """What the answer to the handshake carried in ``X-Request-Id``."""
        assert self.connection.response is not None
        return self.connection.response.headers["X-Request-Id"]

    def send_message(self, message_type: str, message_id: Any = None, data: Any = None) -> None:
        """Send a message of ``/ws``."""
        fields = {"type": message_type, "id": message_id, "data": data}
        self.connection.send(json.dumps(fields))

    def hear(self) -> dict[str, Any]:
        """Return the next message, once it is there."""
        message: dict[str, Any] = json.loads(self.connection.recv(DEADLINE_SECS))
        return message

    def hear_welcome(self) -> str:
        """Return the connection's id, which the next message tells."""
        message = self.hear()
        connection_id: str = message["data"]["connection_id"]
        assert message == {"type": "welcome", "data": {"connection_id": connection_id}}
        return connection_id

    def hear_reply(self, message_id: Any) -> Any:
        """Return the data of the next message, which is the reply to ``message_id``."""
        message = self.hear()
        assert message == {"type": "reply", "id": message_id, "data": message.get("data")}
        return message["data"]

    def hear_close(self) -> tuple[int, str]:
        """Return the code and the reason of the close frame that comes next."""
        with pytest.raises(ConnectionClosed) as caught:
            self.connection.recv(DEADLINE_SECS)
        received = caught.value.rcvd
        assert received is not None, "the server hung up without a close frame"
        return received.code, received.reason


@contextmanager
def connect(server: ServerProcess, path: str = "/ws", **options: Any) -> Iterator[Client]:
    """Give a client that is connected; ``options`` are those of websockets' ``connect``."""
    # On a socket of our own, for which no proxy is looked up in the environment.
    sock = socket.create_connection((HOST, server.port), timeout=DEADLINE_SECS)
    url = f"ws://{HOST}:{server.port}{path}"
    with websockets.sync.client.connect(url, sock=sock, **options) as connection:
        yield Client(connection)


class RawClient:
    """A socket whose handshake was accepted: it answers nothing, and reads when it is told to.

    ``receive_buffer`` is how many bytes the kernel may keep for it.
    """

    def __init__(
        self, server: ServerProcess, path: str = "/ws", *, receive_buffer: int | None = None
    ) -> None:
        self.socket = socket.socket()
        self._stream = self.socket.makefile("rb")
        self.socket.settimeout(DEADLINE_SECS)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect((HOST, server.port))
            self.socket.sendall(handshake(path))
            assert self._stream.readline().startswith(b"HTTP/1.1 101 ")
            while self._stream.readline() != b"\r\n":
                pass
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self.socket.close()

    def send(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame."""
        self.socket.sendall(client_frame(opcode, payload))

    def hear(self) -> Frame:
        """Return the next frame, once it is there."""
        first, size = self._take(2)
        assert first & 0xF0 == 0x80, f"no frame begins with {first:#x}"
        if size == 126:
            size = int.from_bytes(self._take(2), "big")
        elif size == 127:
            size = int.from_bytes(self._take(8), "big")
        return Frame(first & 15, self._take(size))

    def _take(self, count: int) -> bytes:
        taken = self._stream.read(count)
        assert len(taken) == count, f"the server hung up inside a frame: {taken[-100:]!r}"
        return taken

    def hear_rest(self) -> list[Frame]:
        """Return every frame until the server hangs up, gently or not."""
        frames = []
        deadline = time.monotonic() + DEADLINE_SECS
        with suppress(ConnectionResetError):
            while self._stream.peek(1):
                frames.append(self.hear())
                assert time.monotonic() < deadline, f"the server does not hang up: {frames[-1]}"
        return frames

    def answer_close(self) -> int:
        """Return the code of the close frame that comes, once it is answered."""
        frame = self.hear()
        while frame.opcode != CLOSE:
            frame = self.hear()
        self.send(CLOSE, frame.payload)
        return frame.code
