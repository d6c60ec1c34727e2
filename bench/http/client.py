"""Clients that connect: ``python -m bench.http.client``, with its arguments as JSON.

A burst of connections opens at once.  Each sends some requests, the next when it has the response
to the last, and closes.  When all have closed, the next burst opens.  A connection's first latency
counts from before it connects.

Prints the responses, the seconds they took, the CPU seconds they cost here, and every latency.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
import time

_CHUNK_BYTES = 65_536
_TIMEOUT_SECS = 10.0
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)


class _Connection:
    __slots__ = ("asked_ns", "data", "has_asked", "left", "socket")

    def __init__(self, address: tuple[str, int], requests: int) -> None:
        self.asked_ns = time.monotonic_ns()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)
        self.left = requests
        self.has_asked = False
        self.data = b""


class _Load:
    """One server's clients."""

    def __init__(self, port: int, path: str, origin: str) -> None:
        self._address = ("127.0.0.1", port)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {origin}\r\n\r\n"
        self._request = head.encode()
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self.latencies_ns: list[int] = []

    def burst(self, connections: int, requests: int) -> None:
        """Open so many connections at once, and send so many requests on each."""
        for _ in range(connections):
            connection = _Connection(self._address, requests)
            self._open[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLOUT)
        while self._open:
            events = self._poll.poll(_TIMEOUT_SECS, connections)
            if not events:
                raise SystemExit(f"no response for {_TIMEOUT_SECS:g} s")
            for number, _ in events:
                connection = self._open[number]
                if connection.has_asked:
                    self._read(connection)
                else:
                    self._ask(connection)

    def _ask(self, connection: _Connection) -> None:
        connection.socket.sendall(self._request)
        connection.has_asked = True
        self._poll.modify(connection.socket, select.EPOLLIN)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(_CHUNK_BYTES)
        if not data:
            raise SystemExit(f"closed after {connection.data!r}")
        if connection.data:
            data = connection.data + data
        if not _is_whole(data):
            connection.data = data
            return
        now_ns = time.monotonic_ns()
        self.latencies_ns.append(now_ns - connection.asked_ns)
        connection.data = b""
        connection.left -= 1
        if connection.left:
            connection.asked_ns = now_ns
            connection.socket.sendall(self._request)
        else:
            del self._open[connection.socket.fileno()]
            connection.socket.close()


def _is_whole(data: bytes) -> bool:
    """Return True if ``data`` is a response, False if it is the beginning of one."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(data, 0, end + 2)
    if length is None or not data.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"unexpected response: {data[:1000]!r}")
    return len(data) == end + 4 + int(length[1])


def main(arguments: str) -> None:
    """Send bursts until the seconds are over, and print the result."""
    options = json.loads(arguments)
    load = _Load(options["port"], options["path"], options["origin"])
    gc.disable()  # a collection would count as a latency of the server
    begun, cpu_secs = time.monotonic(), time.process_time()
    while (seconds := time.monotonic() - begun) < options["seconds"]:
        load.burst(options["connections"], options["requests_each"])
    cpu_secs = time.process_time() - cpu_secs
    result = {"seconds": seconds, "cpu_secs": cpu_secs, "latencies_ns": load.latencies_ns}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
