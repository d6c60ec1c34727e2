"""JSON that is made up to keep the server busy: over WebSockets, and as a body."""

from __future__ import annotations

from functools import partial

import pytest

from tests.abuse.bystander import MAX_TURN_MS, at_once, measure
from tests.process.client import connect
from tests.process.server import Answer, ServerProcess

SIZE = 1_000_000
MAX_MS = 2 * MAX_TURN_MS  # several of eight messages may be whole in one turn
MESSAGES = {
    "lists": b"[" * SIZE,
    "a text of brackets": b'{"type": "' + b"[" * SIZE + b'"}',
    "empty objects": b'{"type": "x", "data": [' + b"{}," * (SIZE // 3) + b"{}]}",
    "long integers": b'{"type": "x", "data": [' + (b"9" * 400 + b",") * (SIZE // 401) + b"1]}",
}


def _send(server: ServerProcess, message: bytes) -> None:
    with connect(server, compression=None, max_size=None) as client:
        client.hear_welcome()
        client.connection.send(message.decode())
        assert client.hear()["type"] == "error"


@pytest.mark.parametrize("kind", MESSAGES)
def test_messages(server: ServerProcess, kind: str) -> None:
    """Eight clients with a message of 1 MB each hold up nobody."""
    attacks = [partial(_send, server, MESSAGES[kind])] * 8
    impact = measure(server, lambda: at_once(attacks))
    assert impact.longest_turn_ms < MAX_MS, impact


def test_bodies(server: ServerProcess) -> None:
    """Neither do bodies of as many wrong fields as there may be."""
    body = b"{" + b",".join(b'"%x":0' % number for number in range(9_990)) + b"}"

    def attack() -> None:
        connection = server.connect()
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/projects", body, headers)
        assert Answer.read(connection).status == 400
        connection.close()

    impact = measure(server, lambda: at_once([attack] * 8))
    assert impact.longest_turn_ms < MAX_MS, impact
