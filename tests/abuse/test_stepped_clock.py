"""The wall clock is set by an hour while the server runs, and nothing that waits notices.

It is set for Python's code alone, as ``tests/process/wall_clock.py`` says.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.abuse.bystander import open_socket, request_bytes
from tests.process.client import RawClient
from tests.process.conftest import Serve
from tests.process.server import DEADLINE_SECS, Answer, ServerProcess, database_environ
from x121.config import DbConfig
from x121.testing.frames import PING, PONG

HOUR = 3600
STEPS = pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])


def step_clock(server: ServerProcess, seconds: int) -> None:
    """Set the server's wall clock, and see that its Date is right."""
    assert server.get(f"/trials/step/{seconds}").status == 204
    date = parsedate_to_datetime(str(server.get("/health").headers["Date"]))
    assert abs(date.timestamp() - time.time() - seconds) < HOUR / 60


@STEPS
def test_timeouts(serve: Serve, database: DbConfig, step: int) -> None:
    """A head that doesn't end gets its 408, and a handler that doesn't end, too."""
    environ = {"HEADER_TIMEOUT_SECS": "1", "REQUEST_TIMEOUT_SECS": "1"}
    server = serve(database_environ(database) | environ, trials=True)
    with open_socket(server) as half:
        half.sendall(b"GET /health HTTP/1.1\r\n")
        held = server.send("/trials/hold")
        server.wait_for("Trial begun")
        step_clock(server, step)
        with open_socket(server) as later:
            later.sendall(b"GET /health HTTP/1.1\r\n")
            for connection in (half, later):
                assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert Answer.read(held).status == 408
    line = server.wait_for(path="/trials/hold")
    assert 900 < line["duration_ms"] < DEADLINE_SECS * 1000


@STEPS
def test_patience(serve: Serve, database: DbConfig, step: int) -> None:
    """Who waits for less than the limits waits on: an idle connection, a head, an upload."""
    server = serve(database_environ(database), trials=True)
    idle = server.send("/health")
    assert Answer.read(idle).status == 200
    with open_socket(server) as head, open_socket(server) as upload:
        head.sendall(b"GET /health HTTP/1.1\r\n")
        upload.sendall(request_bytes("/nowhere", "POST", "Content-Length: 2") + b"a")
        step_clock(server, step)
        head.sendall(b"Host: a\r\n\r\n")
        upload.sendall(b"b")
        for connection, status in ((head, b"200"), (upload, b"404")):
            assert connection.recv(100).split()[1] == status
    idle.request("GET", "/health")
    assert Answer.read(idle).status == 200
    assert all(0 <= line["duration_ms"] < HOUR * 1000 for line in server.find(method="GET"))


@STEPS
def test_heartbeat(serve: Serve, folder: Path, database: DbConfig, step: int) -> None:
    """WebSockets are pinged, and dropped without a pong; systemd hears that the reactor turns."""
    with ExitStack() as ends:
        manager = ends.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.settimeout(DEADLINE_SECS)
        manager.bind(str(folder / "notify"))
        environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000"}
        environ |= {"WS_HEARTBEAT_INTERVAL_SECS": "0.2", "WS_PONG_TIMEOUT_SECS": "1"}
        server = serve(database_environ(database) | environ, trials=True)
        client = ends.enter_context(RawClient(server))
        client.hear()
        step_clock(server, step)
        manager.setblocking(False)
        while _take(manager):
            pass
        manager.settimeout(DEADLINE_SECS)
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        for _ in range(8):
            ping = client.hear()
            assert ping.opcode == PING
            client.send(PONG, ping.payload)
        assert client.hear_rest()[-1].code == 1011
        closed = server.wait_for("WebSocket closed")
        assert 0 < closed["seconds"] < DEADLINE_SECS


def _take(manager: socket.socket) -> bytes:
    """Return a message that is there, or nothing."""
    try:
        return manager.recv(4096)
    except BlockingIOError:
        return b""
