"""Connections that use up the file descriptors: nobody else is shut out by them."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.abuse.bystander import open_socket, request_bytes
from tests.process.conftest import Serve
from tests.process.server import (
    HOST,
    TRIALS,
    Answer,
    ServerProcess,
    database_environ,
    wait_until,
)
from x121.config import DbConfig

SOFT, HARD = 256, 512
LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT}, {HARD}))
from tests.process.start import main
main()
"""
WARNING = "file descriptors are in use"


@pytest.fixture
def limited(serve: Serve, database: DbConfig) -> ServerProcess:
    """Return a server with few descriptors."""
    return serve(database_environ(database) | {"X121_APP": TRIALS}, program=("-c", LIMITED))


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Return what closes connections at the end."""
    with ExitStack() as ends:
        yield ends


def test_limit_is_raised(limited: ServerProcess) -> None:
    """The soft limit becomes the hard one, and the log says so."""
    assert limited.wait_for("Running on")["descriptors"] == HARD


@pytest.mark.parametrize("sent", [b"", request_bytes()[:5]], ids=["nothing", "half a head"])
def test_waiting_connections(limited: ServerProcess, ends: ExitStack, sent: bytes) -> None:
    """Connections that send nothing, or half a head, make room for new ones, the oldest first."""
    idle = limited.send("/health")
    assert Answer.read(idle).status == 200
    held = limited.send("/trials/hold")
    limited.wait_for("Trial begun")
    crowd = []
    for _ in range(HARD + 100):
        crowd.append(ends.enter_context(open_socket(limited)))
        with suppress(ConnectionError):
            crowd[-1].sendall(sent)
    assert limited.get("/health/ready").status == 200
    assert limited.get("/docs").status == 200
    assert idle.sock.recv(1) == b"", "what is idle is closed first"
    assert crowd[0].recv(100) == b""
    with suppress(ConnectionError):
        crowd[-1].sendall(request_bytes()[len(sent) :])
    assert crowd[-1].recv(100).startswith(b"HTTP/1.1 200 "), "the newest one is still served"
    (limited.folder / "release").touch()
    assert Answer.read(held).status == 200
    assert limited.find(WARNING, level="warn")[0]["limit"] == HARD
    assert len(limited.find(WARNING)) <= 2


def test_busy_connections(limited: ServerProcess, ends: ExitStack) -> None:
    """Where all others are being served a new connection is refused, and the reserve is kept."""
    crowd = []
    for _ in range(HARD + 100):
        crowd.append(ends.enter_context(socket.create_connection((HOST, limited.port))))
        with suppress(ConnectionError):
            crowd[-1].sendall(request_bytes("/trials/hold"))
    wait_until(
        lambda: len(limited.find("Trial begun")) + len(_ended(crowd)) == len(crowd),
        "every connection is being served or refused",
    )
    (limited.folder / "release").touch()
    served = [connection for connection in crowd if _answers(connection)]
    assert 0 < len(served) < HARD
    assert limited.find(WARNING)
    assert limited.get("/health/ready").status == 200
    assert limited.find("EMFILE") == []


def _ended(connections: list[socket.socket]) -> list[socket.socket]:
    """Return the connections that the server has closed; none has a response yet."""
    return select.select(connections, [], [], 0)[0]


def _answers(connection: socket.socket) -> bool:
    """Return whether a connection has a response, and not its end."""
    try:
        return connection.recv(100).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False
