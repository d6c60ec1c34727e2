"""The log of a running server: nobody has to read it, and its file may be renamed."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.conftest import Serve
from tests.process.server import Answer, database_environ, wait_until
from x121.config import DbConfig

# Enough to fill a pipe, a socket and a terminal, whatever each keeps for its reader.
MANY_REQUESTS = 2000


def full_device() -> tuple[int, int]:
    """Return the device that never has room, and nothing that could read from it."""
    return os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)


def socket_pair() -> tuple[int, int]:
    """Return the ends of a stream, such as the one between a service and systemd's journal."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.fixture(params=[os.openpty, os.pipe, socket_pair, full_device])
def unread(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return an output that nobody reads."""
    reader, writer = request.param()
    yield writer
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_unread(serve: Serve, database: DbConfig, unread: int, free_port: int) -> None:
    """A server whose log nobody reads goes on serving, and stops when it is told to."""
    environ = database_environ(database) | {"SERVER_PORT": str(free_port)}
    server = serve(environ, output=unread)
    connection = server.connect()
    for _ in range(MANY_REQUESTS):
        connection.request("GET", "/health")
        assert Answer.read(connection).status == 200
    assert server.stop() == 0
    assert server.errors == []


def test_terminal_read_late(serve: Serve, database: DbConfig, free_port: int) -> None:
    """A terminal that is read again after a while gets what it has missed, up to the last line."""
    environ = database_environ(database) | {"SERVER_PORT": str(free_port)}
    ours, terminal = os.openpty()
    server = serve(environ, output=terminal)
    os.close(terminal)
    connection = server.connect()
    for number in range(MANY_REQUESTS):
        connection.request("GET", f"/{number}")
        Answer.read(connection)
    server.send_signal(signal.SIGTERM)
    received = b""
    with suppress(OSError):  # EIO: the server has closed the terminal
        while piece := os.read(ours, 65_536):
            received += piece
    os.close(ours)
    assert server.wait() == 0
    lines = [json.loads(line) for line in received.splitlines()]
    paths = [line["path"] for line in lines if "path" in line]
    assert paths == [f"/{number}" for number in range(MANY_REQUESTS)], "the backlog holds them"
    assert "requests_drained" in lines[-1]


WITHOUT_TERMINAL = ("-c", "import os; os.setsid()\nfrom twisted.scripts.twistd import run\nrun()")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_reopen(serve: Serve, folder: Path, database: DbConfig, number: signal.Signals) -> None:
    """SIGUSR1 makes the server go on in a new file; so does SIGHUP where there is no terminal."""
    log, old = folder / "x121.log", folder / "x121.log.1"
    (folder / "run").mkdir()
    server = serve(
        database_environ(database),
        program=WITHOUT_TERMINAL,
        twistd=("-n", "--pidfile=", "--logfile=x121.log", "--rundir=run"),
    )
    wait_until(lambda: log.exists() and "Server listening" in log.read_text(), "the start")
    log.rename(old)
    server.send_signal(number)
    wait_until(lambda: log.exists() and log.read_text(), "the new log")
    assert server.stop() == 0
    first, *_, report = [json.loads(line) for line in log.read_text().splitlines()]
    assert first["message"] == f"Received {number.name}, reopened the log {log}"
    assert "requests_drained" in report
    assert "Server listening" in json.loads(old.read_text().splitlines()[-1])["message"]


def test_reopen_fails(serve: Serve, folder: Path, database: DbConfig) -> None:
    """A log that can't be reopened goes on where it was, and says so there."""
    log, old = folder / "x121.log", folder / "x121.log.1"
    twistd = ("-n", "--pidfile=", f"--logfile={log}")
    server = serve(database_environ(database), twistd=twistd)
    wait_until(lambda: log.exists() and "Server listening" in log.read_text(), "the start")
    log.rename(old)
    log.mkdir()
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: "Received SIGUSR1" in old.read_text(), "the report")
    line = json.loads(old.read_text().splitlines()[-1])
    assert (line["level"], line["error"]) == ("error", "Is a directory")
    assert server.stop() == 0


def test_nothing_to_reopen(serve: Serve, database: DbConfig) -> None:
    """Standard output can't be reopened; the server says so and goes on."""
    server = serve(database_environ(database))
    assert server.port
    server.send_signal(signal.SIGUSR1)
    server.wait_for("Received SIGUSR1: the log isn't a file to reopen")
    assert server.get("/health").status == 200
    assert server.stop() == 0
