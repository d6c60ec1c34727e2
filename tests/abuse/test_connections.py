"""One client, or eight, that send much work at once: everybody else is served in between."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

import pytest

from tests.abuse.bystander import MAX_TURN_MS, at_once, measure, open_socket, request_bytes
from tests.process.server import ServerProcess

CHUNKED = request_bytes("/health", "POST", "Transfer-Encoding: chunked")


def read_until(connection: socket.socket, end: bytes, count: int) -> None:
    """Read until ``end`` has come ``count`` times."""
    found, rest = 0, b""
    while found < count:
        data = connection.recv(65_536)
        assert data, f"the server hung up after {found} of {count}"
        rest += data
        found += rest.count(end)
        rest = rest[rest.rfind(end) + len(end) :] if end in rest else rest[-len(end) :]


def pipeline(server: ServerProcess) -> None:
    """Send 2,000 requests in one piece."""
    with open_socket(server) as connection:
        connection.sendall(request_bytes() * 2000)
        read_until(connection, b'{"status":"ok"}', 2000)


def send_chunks(server: ServerProcess) -> None:
    """Send 600 kB of chunks of one byte."""
    with open_socket(server) as connection:
        connection.sendall(CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        read_until(connection, b'"METHOD_NOT_ALLOWED"}', 1)


@pytest.mark.parametrize("attackers", [1, 8])
@pytest.mark.parametrize("attack", [pipeline, send_chunks])
def test_bystander(
    server: ServerProcess, attack: Callable[[ServerProcess], None], attackers: int
) -> None:
    """No turn of the reactor takes long, and a bystander is served in between."""
    impact = measure(server, partial(at_once, [partial(attack, server)] * attackers))
    assert impact.longest_turn_ms < MAX_TURN_MS
    assert impact.requests >= 10
