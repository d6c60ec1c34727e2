"""One process of clients: ``python -m bench.ws.client PORT NUMBER``.

It reads a command as a line of JSON, does it, and answers with a line.  Between the commands it
takes what comes, and answers pings.  It ends when its standard input does.

One thread waits for all sockets at once, and each of them blocks: it is read when there is
something, and what is written is little.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.ws.contract import STAMP, STAMP_DIGITS
from bench.ws.frames import Opcode, frame_size, handshake, make_frame, split

_STAMP_END = len(STAMP) + STAMP_DIGITS

_CHUNK_BYTES = 65_536
_EVENTS_PER_TURN = 1024
_CONNECTIONS_AN_ADDRESS = 20_000
_NO_CLOSE_FRAME = 1006
_STDIN = 0


class _Client:
    __slots__ = ("asked_ns", "code", "is_open", "received", "rest", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.rest = b""
        self.is_open = False
        self.received = 0
        self.asked_ns = 0
        self.code = _NO_CLOSE_FRAME

    def send(self, opcode: Opcode, payload: bytes) -> None:
        self.socket.sendall(make_frame(opcode, payload))


class _Load:
    """Every client of this process; each public method is a command."""

    _on_whole: Callable[[_Client], None]
    _on_message: Callable[[_Client, bytes], None]

    def __init__(self, port: int, number: int) -> None:
        self._server = ("127.0.0.1", port)
        self._number = number
        self._clients: dict[int, _Client] = {}
        self._poll = select.epoll()
        self._poll.register(_STDIN, select.EPOLLIN)
        self._is_asked = False
        self._opened = 0
        self._chunk = bytearray(_CHUNK_BYTES)
        self._echoes = 0
        self._echo_frame = b""
        self._event_size = 0
        self._may_lose = False
        self._expect_anything()
        self._forget()

    def _forget(self) -> None:
        self._events = 0
        self._event_bytes = 0
        self._last_event_at = 0.0
        self._latencies_ns: list[int] = []
        self._others: list[tuple[float, str]] = []
        self._pings = 0
        self._lost: list[tuple[int, int]] = []

    # --- commands ---

    def open(self, path: str, count: int, at_once: int, talks: bool) -> dict[str, Any]:
        """Open ``count`` connections, with ``at_once`` handshakes under way.

        ``talks`` tells whether the server begins with a message, which is then waited for.
        """
        request = handshake(path)
        goal = self._opened + count
        begun, others = self._opened, len(self._others)
        while self._opened < goal:
            while begun < goal and begun - self._opened < at_once:
                self._connect(request)
                begun += 1
            self._turn()
        if talks:
            self._until(lambda: len(self._others) >= others + count)
        return {"at": time.monotonic()}

    def say(self, text: str, talks: bool, times: int, every_secs: float) -> dict[str, Any]:
        """Send ``text``, with the time in it, on the first connection, at a steady pace.

        ``talks`` tells whether the server replies, which is then waited for.
        """
        first = next(iter(self._clients.values()))
        before, stamp, after = text.encode().partition(STAMP + b"0" * STAMP_DIGITS)
        assert stamp, "there is no stamp"
        replies = len(self._others) + times
        begun_at = time.monotonic()
        for number in range(times):
            self._for(begun_at + number * every_secs - time.monotonic())
            now = b"%s%0*d" % (STAMP, STAMP_DIGITS, time.monotonic_ns())
            first.send(Opcode.TEXT, before + now + after)
        if talks:
            self._until(lambda: len(self._others) >= replies)
        return {"begun_at": begun_at}

    def wait(self, events: int) -> dict[str, Any]:
        """Wait until there were so many events since the last ``take``."""
        self._until(lambda: self._events >= events)
        return {}

    def take(self) -> dict[str, Any]:
        """Say what came in, and begin anew."""
        answer = {
            "events": self._events,
            "event_bytes": self._event_bytes,
            "last_event_at": self._last_event_at,
            "latencies_ns": self._latencies_ns,
            "others": self._others,
            "pings": self._pings,
            "lost": self._lost,
        }
        self._forget()
        return answer

    def echo(self, text: str, seconds: float) -> dict[str, Any]:
        """Send ``text`` on every connection, and again with every answer, for some time."""
        payload = text.encode()
        self._echoes, self._echo_frame = 0, make_frame(Opcode.TEXT, payload)
        self._latencies_ns = []
        self._expect(len(payload), self._answer)
        begun_at = time.monotonic()
        for client in self._clients.values():
            client.asked_ns = time.monotonic_ns()
            client.socket.sendall(self._echo_frame)
        self._for(seconds)
        elapsed, echoes = time.monotonic() - begun_at, self._echoes
        self._expect(len(payload), self._count)
        self._until(lambda: self._echoes >= echoes + len(self._clients))
        self._expect_anything()
        return {
            "echoes": echoes,
            "seconds": elapsed,
            "all_echoes": self._echoes,
            "latencies_ns": self._latencies_ns,
        }

    def flood(self, text: str, event_size: int, seconds: float) -> dict[str, Any]:
        """Have one connection send ``text``, and again when everybody has its event."""
        first = next(iter(self._clients.values()))
        frame = make_frame(Opcode.TEXT, text.encode())
        latencies_ns = []
        self._event_size = event_size
        self._expect(event_size, self._take_whole_event)
        self._on_message = self._take_event
        begun_at = time.monotonic()
        while time.monotonic() < begun_at + seconds:
            self._events = 0
            asked_ns = time.monotonic_ns()
            first.socket.sendall(frame)
            while self._events < len(self._clients):
                self._turn()
            latencies_ns.append(time.monotonic_ns() - asked_ns)
        elapsed = time.monotonic() - begun_at
        self._expect_anything()
        self._forget()
        return {"seconds": elapsed, "latencies_ns": latencies_ns}

    def stall(self) -> dict[str, Any]:
        """Read nothing any more, and be closed for it."""
        self._may_lose = True
        for number in self._clients:
            self._poll.unregister(number)
        return {}

    def resume(self) -> dict[str, Any]:
        """Read again."""
        for number in self._clients:
            self._poll.register(number, select.EPOLLIN)
        return {}

    def wait_lost(self) -> dict[str, Any]:
        """Wait until there is no connection any more."""
        self._until(lambda: not self._clients)
        return {}

    def drop(self) -> dict[str, Any]:
        """Reset every connection, which leaves none behind to linger in TIME_WAIT."""
        for client in self._clients.values():
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        self._clients.clear()
        self._opened = 0
        return {}

    # --- turns ---

    def serve(self) -> None:
        """Do what is asked until nobody can ask any more."""
        while True:
            while not self._is_asked:
                self._poll_once(-1)
            self._is_asked = False
            line = sys.stdin.readline()
            if not line:
                return
            command = json.loads(line)
            answer = getattr(self, command.pop("do"))(**command)
            print(json.dumps(answer), flush=True)

    def _turn(self, timeout_secs: float = -1) -> None:
        self._poll_once(timeout_secs)
        if self._is_asked:  # nobody asks before the answer: they are gone
            raise SystemExit(1)

    def _poll_once(self, timeout_secs: float) -> None:
        for number, _ in self._poll.poll(timeout_secs, _EVENTS_PER_TURN):
            client = self._clients.get(number)
            if client is not None:
                self._read(client)
            elif number == _STDIN:
                self._is_asked = True

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._turn()

    def _for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._turn(left)

    # --- connections ---

    def _connect(self, request: bytes) -> None:
        connection = socket.socket()
        # An address has some 28,000 ports for us.
        part = len(self._clients) // _CONNECTIONS_AN_ADDRESS
        connection.bind((f"127.0.{self._number + 1}.{part + 1}", 0))
        connection.connect(self._server)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        self._clients[connection.fileno()] = _Client(connection)
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, client: _Client) -> None:
        try:
            size = client.socket.recv_into(self._chunk)
        except OSError:
            size = 0
        client.received += size
        if size == self._whole and not client.rest:
            self._on_whole(client)
        elif size:
            self._take_in(client, bytes(memoryview(self._chunk)[:size]))
        else:
            self._lose(client)

    def _take_in(self, client: _Client, data: bytes) -> None:
        data = client.rest + data
        if not client.is_open:
            data = self._finish_handshake(client, data)
            if not client.is_open:
                return
        frames, client.rest = split(data)
        for opcode, payload in frames:
            if opcode == Opcode.PING:
                self._pings += 1
                client.send(Opcode.PONG, payload)
            elif opcode == Opcode.CLOSE:
                client.code = int.from_bytes(payload[:2])
                with contextlib.suppress(OSError):
                    client.send(Opcode.CLOSE, payload[:2])
            else:
                self._on_message(client, payload)

    def _finish_handshake(self, client: _Client, data: bytes) -> bytes:
        """Return what is behind the answer, once that is whole."""
        head, end, data_behind = data.partition(b"\r\n\r\n")
        if not end:
            client.rest = data
            return b""
        if not head.startswith(b"HTTP/1.1 101 "):
            raise SystemExit(f"the server would have no WebSocket: {data[:1000]!r}")
        client.is_open = True
        self._opened += 1
        return data_behind

    def _lose(self, client: _Client) -> None:
        if not self._may_lose:
            state = client.code if client.is_open else "no answer to the handshake"
            raise SystemExit(f"the server closed a connection: {state}")
        number = client.socket.fileno()
        self._poll.unregister(number)
        del self._clients[number]
        client.socket.close()
        self._lost.append((client.code, client.received))

    # --- messages ---

    def _take(self, _: _Client, payload: bytes) -> None:
        start = payload.find(STAMP)
        if start < 0:
            self._others.append((time.monotonic(), payload.decode()))
            return
        now = time.monotonic_ns()
        asked_at = int(payload[start + len(STAMP) : start + _STAMP_END])
        self._latencies_ns.append(now - asked_at)
        self._last_event_at = now / 1e9
        self._events += 1
        self._event_bytes += len(payload)

    def _answer(self, client: _Client, _: bytes = b"") -> None:
        now = time.monotonic_ns()
        self._latencies_ns.append(now - client.asked_ns)
        client.asked_ns = now
        self._echoes += 1
        client.socket.sendall(self._echo_frame)

    def _count(self, _client: _Client, _payload: bytes = b"") -> None:
        self._echoes += 1

    def _take_event(self, _: _Client, payload: bytes) -> None:
        self._events += len(payload) == self._event_size  # anything else is for who asked

    def _take_whole_event(self, _: _Client) -> None:
        self._events += 1

    # --- what is expected, which is read without being taken apart ---

    def _expect(self, size: int, what: Callable[[_Client], None]) -> None:
        """Call ``what`` for messages; what is as long as one of ``size`` bytes is taken for it."""
        self._whole = frame_size(size)
        self._on_whole = what
        self._on_message = lambda client, _: what(client)

    def _expect_anything(self) -> None:
        self._whole = -1
        self._on_whole = self._count
        self._on_message = self._take


def main(port: str, number: str) -> None:
    """Serve the one who started this process."""
    # What is made here lives to the end, and nothing of it is circular.
    gc.disable()
    _Load(int(port), int(number)).serve()
    os._exit(0)  # nobody needs ten thousand sockets closed one by one


if __name__ == "__main__":
    main(*sys.argv[1:])
