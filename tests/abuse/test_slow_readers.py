"""Readers that never read: what they cost in memory, and who notices."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psutil  # type: ignore[import-untyped]
import pytest

from tests.abuse.bystander import open_socket, request_bytes
from tests.process.server import ServerProcess, wait_until

READERS = 300
# A slice of 80 KiB each, what Python needs for a connection, and what the allocator keeps.
MAX_MIB = 60


@pytest.fixture
def script(server: ServerProcess) -> str:
    """Return the path of the largest file that the server has."""
    page = server.get("/docs").body.decode()
    found = re.search(r"docs/[0-9a-f]+/swagger-ui\.js", page)
    assert found is not None
    return f"/{found[0]}"


@pytest.fixture
def readers(server: ServerProcess) -> Iterator[list[socket.socket]]:
    """Return connections of clients that read nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_socket(server)) for _ in range(READERS)]


def _resident_mib(server: ServerProcess) -> float:
    rss: int = psutil.Process(server.pid).memory_info().rss
    return rss / (1 << 20)


def test_readers_that_never_read(
    server: ServerProcess, script: str, readers: list[socket.socket]
) -> None:
    """Each holds a slice of the file and shares the rest; the server answers others meanwhile."""
    server.get(script)
    before = _resident_mib(server)
    for reader in readers:
        reader.sendall(request_bytes(script))
    wait_until(lambda: all(map(_has_begun, readers)), "the first bytes for every reader")
    assert server.get("/health").status == 200
    assert _resident_mib(server) - before < MAX_MIB


def test_heads(server: ServerProcess, script: str) -> None:
    """HEAD tells how long the file is, and reads nothing of it."""
    whole = server.get(script)
    connection = server.connect()
    connection.request("HEAD", script)
    head = connection.getresponse()
    assert (head.status, head.read()) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(whole.body)


def _has_begun(reader: socket.socket) -> bool:
    try:
        return bool(reader.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False
