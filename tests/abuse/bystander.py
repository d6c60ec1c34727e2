"""The cost of an attack for everybody else.

Two measures, taken together while an attack runs:

- the longest turn of the server's reactor, in CPU time, which other processes of the machine hardly
  change (:mod:`tests.process.turns`);
- the latency of a bystander, who asks ``/health`` on a connection of its own, as a ratio to the
  latency of the same server when it is quiet.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from tests.process.server import DEADLINE_SECS, HOST, ServerProcess

__all__ = ["MAX_TURN_MS", "Impact", "at_once", "measure", "open_socket", "request_bytes"]

MAX_TURN_MS = 30.0
"""The goal is 10 ms; a slow machine may take three times as long."""

_REQUEST = b"GET /health HTTP/1.1\r\nHost: bystander\r\n\r\n"
_QUIET_REQUESTS = 200


@dataclass(frozen=True)
class Impact:
    """The cost of an attack: latencies are the bystander's, in milliseconds."""

    longest_turn_ms: float
    quiet_ms: float
    median_ms: float
    worst_ms: float
    requests: int

    @property
    def ratio(self) -> float:
        """The bystander's median latency under attack, in terms of the quiet one."""
        return self.median_ms / self.quiet_ms


def measure(server: ServerProcess, attack: Callable[[], object]) -> Impact:
    """Run ``attack`` against ``server`` and return its impact.

    ``server`` has the trials.  What ``attack`` raises is raised here.
    """
    with open_socket(server) as connection:
        quiet = median(_ask(connection) for _ in range(_QUIET_REQUESTS))
        server.get("/trials/turns/start")
        bystander = _Bystander(connection)
        try:
            attack()
        finally:
            latencies = bystander.stop()
            longest_turn_ms = server.get("/trials/turns/stop").json["longest_ms"]
    return Impact(
        longest_turn_ms=longest_turn_ms,
        quiet_ms=quiet,
        median_ms=median(latencies),
        worst_ms=max(latencies),
        requests=len(latencies),
    )


def at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Make all ``calls``, each in a thread, and return when the last one has returned.

    Raises the first exception that one of them raised.
    """
    failures: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def open_socket(server: ServerProcess) -> socket.socket:
    """Return a connection to ``server`` that waits for nothing longer than the deadline."""
    connection = socket.create_connection((HOST, server.port), timeout=DEADLINE_SECS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return connection


def request_bytes(path: str = "/health", method: str = "GET", *fields: str) -> bytes:
    """Return the head of a request, with ``fields`` such as ``"Connection: close"``."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def _ask(connection: socket.socket) -> float:
    """Return how long ``/health`` takes, in milliseconds."""
    begun = time.perf_counter()
    connection.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        part = connection.recv(65_536)
        assert part, f"the server hung up on a bystander: {answer!r}"
        answer += part
    return (time.perf_counter() - begun) * 1000


class _Bystander:
    """Asks ``/health`` from its start until :meth:`stop`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._latencies: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        # A bystander that is cut off has no latency to tell; the list is empty then, and median()
        # fails.
        with suppress(OSError):
            while not self._is_over.is_set():
                self._latencies.append(_ask(self._connection))

    def stop(self) -> list[float]:
        """Return every latency, in milliseconds."""
        self._is_over.set()
        self._thread.join()
        return self._latencies
