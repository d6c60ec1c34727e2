"""Whether a server does what it is measured with: one that doesn't ends the program."""

from __future__ import annotations

import socket

from bench.ws.cases import Case
from bench.ws.frames import Opcode, handshake, make_frame, split
from bench.ws.targets import Target

__all__ = ["check"]

_TIMEOUT_SECS = 5.0
_MEMBERS = 3


def check(target: Target, case: Case) -> None:
    """End the program if ``target`` answers anything else than it should."""
    try:
        if case.is_broadcast:
            _check_broadcast(target, case)
        else:
            _check_echo(target, case)
    except OSError as error:
        raise SystemExit(f"bench: {target.server.name}, {case.title}: {error}") from None


def _check_echo(target: Target, case: Case) -> None:
    client = _Client(target, target.echo_path)
    # Nothing is ASCII here, so that a server that reads text as something else is found out.
    payload = ("é" * (case.size // 2)).encode()
    client.send(payload)
    client.require(Opcode.TEXT, len(payload), payload)
    client.close()


def _check_broadcast(target: Target, case: Case) -> None:
    clients = [_Client(target, target.path) for _ in range(_MEMBERS)]
    clients[0].send(target.ask_for_event(case.size).encode())
    for client in clients:
        client.require(Opcode.TEXT, case.size)
    for client in clients:
        client.close()


class _Client:
    def __init__(self, target: Target, path: str) -> None:
        self._name = f"{target.server.name} at {path}"
        address = ("127.0.0.1", target.server.port)
        self._socket = socket.create_connection(address, _TIMEOUT_SECS)
        self._socket.sendall(handshake(path))
        self._data = b""
        self._frames: list[tuple[int, bytes]] = []
        while b"\r\n\r\n" not in self._data:
            self._receive()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 ") or b"websocket-extensions" in head.lower():
            raise SystemExit(f"bench: {self._name}: {head!r}")
        if target.talks and path == target.path:
            self._next()

    def send(self, payload: bytes) -> None:
        """Send a text."""
        self._socket.sendall(make_frame(Opcode.TEXT, payload))

    def require(self, opcode: Opcode, size: int, payload: bytes | None = None) -> None:
        """Take the next message, or the one after the reply to who asked for it."""
        for _ in range(2):
            found, data = self._next()
            if found == opcode and len(data) == size and payload in (None, data):
                return
        raise SystemExit(f"bench: {self._name}: {found} {data[:200]!r}, not {size} bytes")

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    def _next(self) -> tuple[int, bytes]:
        while not self._frames:
            frames, self._data = split(self._data)
            self._frames += frames
            if not self._frames:
                self._receive()
        return self._frames.pop(0)

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise SystemExit(f"bench: {self._name}: closed after {self._data[:200]!r}")
        self._data += data
