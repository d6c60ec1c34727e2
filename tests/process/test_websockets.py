"""WebSockets as clients see them, and what the log says of them."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from tests.process.client import Client, RawClient, connect
from tests.process.conftest import Serve
from tests.process.server import DEADLINE_SECS, ServerProcess, database_environ
from x121.config import DbConfig
from x121.testing.frames import CLOSE, PING, TEXT
from x121.testing.postgres import Postgres
from x121.ws.protocol import CLOSE_TIMEOUT_SECS

TRIALS = "/ws/trials"
LARGE = 300 * 1024
MESSAGE_LIMIT = 1 << 20
NEWS_BYTES = 100_000
MAX_NEWS = 1000
"""More than any kernel keeps for a client, and than the server does."""


@pytest.fixture(scope="module")
def server(
    speed: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return the server that the tests of this module share; none of them ends it."""
    folder = tmp_path_factory.mktemp("server")
    environ = database_environ(postgres.config(postgres.create_database()))
    with ServerProcess(folder, environ | {"DIAGNOSTICS": "true"}, trials=True) as server:
        yield server


def closed_code(server: ServerProcess, connection_id: str) -> int:
    """Return the code that the log has for the end of a connection."""
    line = server.wait_for("WebSocket closed with", connection_id=connection_id)
    code: int = line["code"]
    return code


def told(client: Client, number: int) -> int:
    """Have ``client`` tell everybody 100 KB of news, and return how many took them."""
    assert number < MAX_NEWS, "nobody is too slow for the server"
    news = [number, "x" * NEWS_BYTES]
    client.send_message("trials.broadcast", number, news)
    assert client.hear() == {"type": "trials.news", "data": news}
    taken: int = client.hear_reply(number)
    return taken


# --- messages -----------------------------------------------------------------------------


def test_ping(server: ServerProcess) -> None:
    """A client is welcomed, its messages are answered, and so are its pings."""
    with connect(server) as client:
        client.hear_welcome()
        client.send_message("ping", {"any": ["id"]})
        assert client.hear_reply({"any": ["id"]}) == "pong"
        client.send_message("no such type", 2)
        error = client.hear()
        assert (error["type"], error["id"], error["code"]) == ("error", 2, "NOT_FOUND")
        assert client.connection.ping().wait(DEADLINE_SECS)


def test_broadcast(server: ServerProcess) -> None:
    """An event reaches everybody, on whichever path they speak messages."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server, path)) for path in ("/ws", TRIALS) * 3]
        assert len({client.hear_welcome() for client in clients}) == len(clients)
        clients[1].send_message("trials.broadcast", 1, {"text": "Gr\u00fc\u00dfe"})
        for client in clients:
            assert client.hear() == {"type": "trials.news", "data": {"text": "Gr\u00fc\u00dfe"}}
        assert clients[1].hear_reply(1) == len(clients)


def test_topics(server: ServerProcess) -> None:
    """Who subscribes to a topic gets what is published there, until it unsubscribes or leaves."""
    with connect(server, TRIALS) as one, connect(server, TRIALS) as other:
        connection_id = one.hear_welcome()
        other.hear_welcome()
        for client in (one, other):
            client.send_message("subscribe", 1, {"topic": "trials/7"})
            assert client.hear_reply(1) == {"topic": "trials/7"}
        note = {"room": "7", "text": "Gr\u00fc\u00dfe"}
        other.send_message("trials.note", 2, note)
        for client in (one, other):
            assert client.hear() == {"type": "trials.noted", "data": note}
        assert other.hear_reply(2) == 2
        other.send_message("trials.note", 3, {**note, "room": "8"})
        assert other.hear_reply(3) == 0
        other.send_message("unsubscribe", 4, {"topic": "trials/7"})
        assert other.hear_reply(4) == {"topic": "trials/7"}
        other.send_message("trials.note", 5, note)
        assert other.hear_reply(5) == 1
        assert one.hear() == {"type": "trials.noted", "data": note}
        one.connection.close()
        server.wait_for("WebSocket closed", connection_id=connection_id)
        other.send_message("trials.note", 6, note)
        assert other.hear_reply(6) == 0


def test_invalid_data(server: ServerProcess) -> None:
    """Data that isn't what a handler takes, and a topic that isn't there, are told so."""
    with connect(server, TRIALS) as client:
        client.hear_welcome()
        client.send_message("trials.note", 1, {"room": 7})
        error = client.hear()
        assert (error["type"], error["id"], error["code"]) == ("error", 1, "BAD_REQUEST")
        assert [one["path"] for one in error["details"]] == ["room", "text"]
        client.send_message("subscribe", 2, {"topic": "trials"})
        assert client.hear()["code"] == "NOT_FOUND"


def test_order(server: ServerProcess) -> None:
    """What waits behind a slow message is answered after it; nobody else waits."""
    release = server.folder / "release"
    with connect(server, TRIALS) as waiting, connect(server, TRIALS) as other:
        connection_id = waiting.hear_welcome()
        waiting.send_message("trials.hold", 1)
        waiting.send_message("ping", 2)
        waiting.send_message("ping", 3)
        server.wait_for("Trial begun", connection_id=connection_id)
        other.hear_welcome()
        other.send_message("ping", 1)
        assert other.hear_reply(1) == "pong"
        with pytest.raises(TimeoutError):
            waiting.connection.recv(timeout=0)
        release.touch()
        assert [waiting.hear_reply(number) for number in (1, 2, 3)] == ["held", "pong", "pong"]
    release.unlink()


@pytest.mark.parametrize("message", ["\u00e4" * (LARGE // 2), bytes(range(256)) * (LARGE // 256)])
def test_large_message(server: ServerProcess, message: str | bytes) -> None:
    """300 KiB come back as they were sent, text as text and bytes as bytes."""
    with connect(server, "/ws/echo") as client:
        client.connection.send(message)
        assert client.connection.recv(DEADLINE_SECS) == message


def test_failing_handler(server: ServerProcess) -> None:
    """An exception is an error without details, a line with a traceback, and not the end."""
    with connect(server, TRIALS) as client:
        connection_id = client.hear_welcome()
        client.send_message("trials.fail", 1)
        message = {"error": "Internal server error", "code": "PANIC"}
        assert client.hear() == {"type": "error", "id": 1, **message}
        client.send_message("ping", 2)
        assert client.hear_reply(2) == "pong"
    line = server.wait_for(level="error", connection_id=connection_id)
    assert "RuntimeError: a secret of the handler's" in line["traceback"]


# --- the handshake ------------------------------------------------------------------------


def refused(server: ServerProcess, path: str = "/ws", **options: Any) -> Response:
    """Return the answer to a handshake that isn't accepted."""
    with pytest.raises(InvalidStatus) as caught, connect(server, path, **options):
        pass
    return caught.value.response


def test_refused(server: ServerProcess) -> None:
    """A page elsewhere gets 403 and a plain GET 426, in the form of every error."""
    response = refused(server, origin="http://evil.test")
    assert response.body is not None
    assert (response.status_code, json.loads(response.body)["code"]) == (403, "FORBIDDEN")
    answer = server.get("/ws")
    assert (answer.status, answer.json["code"]) == (426, "UPGRADE_REQUIRED")


# --- the end ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_client_closes(server: ServerProcess, code: int) -> None:
    """The code of a client that closes comes back to it, and into the log."""
    with connect(server) as client:
        connection_id = client.hear_welcome()
        client.connection.close(code, "enough")
        assert client.hear_close()[0] == code
    assert closed_code(server, connection_id) == code


def test_server_closes(server: ServerProcess) -> None:
    """A handler closes with a code of its own and a reason, and both arrive."""
    with connect(server, TRIALS) as client:
        connection_id = client.hear_welcome()
        client.send_message("trials.close", 1, 4321)
        assert client.hear_close() == (4321, "as asked")
    assert closed_code(server, connection_id) == 4321


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_client_leaves(server: ServerProcess, how: str) -> None:
    """A client that leaves without a word is forgotten, and logged with 1006."""
    with RawClient(server) as leaving, connect(server, TRIALS) as other:
        connection_id = json.loads(leaving.hear().payload)["data"]["connection_id"]
        other.hear_welcome()
        assert told(other, 1) == 2
        if how == "reset":
            no_linger = struct.pack("ii", 1, 0)
            leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        leaving.close()
        assert closed_code(server, connection_id) == 1006
        assert told(other, 2) == 1
    (line,) = server.find("WebSocket closed", connection_id=connection_id)
    assert line["level"] == "info"
    assert "traceback" not in line


def test_too_large(server: ServerProcess) -> None:
    """A message over the limit closes with 1009; one of exactly the limit does not."""
    with connect(server, "/ws/echo", max_size=None) as client:
        client.connection.send(bytes(MESSAGE_LIMIT))
        assert client.connection.recv(DEADLINE_SECS) == bytes(MESSAGE_LIMIT)
        client.connection.send(bytes(MESSAGE_LIMIT + 1))
        assert client.hear_close()[0] == 1009


def test_much_too_large(server: ServerProcess) -> None:
    """Who is still sending a message far over the limit is told 1009, too."""
    with connect(server, "/ws/echo") as client:
        client.connection.send(bytes(16 * MESSAGE_LIMIT))
        assert client.hear_close()[0] == 1009


# --- clients that don't do their part -----------------------------------------------------


def test_slow_reader(server: ServerProcess) -> None:
    """A client that takes nothing is closed with 1013; another one gets everything meanwhile."""
    with RawClient(server, receive_buffer=4096) as slow, connect(server, TRIALS) as other:
        other.hear_welcome()
        number = 1
        while told(other, number) == 2:
            number += 1
        assert told(other, number + 1) == 1
        slow.send(CLOSE, struct.pack("!H", 1013))
        welcome, *news, close = slow.hear_rest()
        connection_id = json.loads(welcome.payload)["data"]["connection_id"]
        heard = [json.loads(frame.payload)["data"][0] for frame in news]
        assert heard == list(range(1, len(heard) + 1))
        assert (close.opcode, close.code) == (CLOSE, 1013)
        assert closed_code(server, connection_id) == 1013


def test_reader_that_grows_slow(server: ServerProcess) -> None:
    """A client that takes less than there is gets whole frames alone, and 1013 as the last."""
    with RawClient(server, receive_buffer=4096) as slow, connect(server, TRIALS) as other:
        other.hear_welcome()
        slow.hear()
        number = 1
        heard = []
        while told(other, number) == 2:
            if number % 2:
                heard.append(json.loads(slow.hear().payload)["data"][0])
            number += 1
        slow.send(CLOSE, struct.pack("!H", 1013))
        *news, close = slow.hear_rest()
        heard += [json.loads(frame.payload)["data"][0] for frame in news]
        assert heard == list(range(1, len(heard) + 1))
        assert (close.opcode, close.code) == (CLOSE, 1013)


def test_silent_client(serve: Serve, database: DbConfig) -> None:
    """A client that answers no ping is closed with 1011 and hung up on, in time; others stay."""
    pong = 0.3
    times = {"WS_HEARTBEAT_INTERVAL_SECS": "0.2", "WS_PONG_TIMEOUT_SECS": str(pong)}
    server = serve(database_environ(database) | times)
    with connect(server) as other:
        other_id = other.hear_welcome()
        began = time.monotonic()
        with RawClient(server) as silent:
            welcome, *pings, close = silent.hear_rest()
        assert pong <= time.monotonic() - began < CLOSE_TIMEOUT_SECS, "nobody waits for an answer"
        assert welcome.opcode == TEXT
        assert {frame.opcode for frame in pings} == {PING}
        assert (close.opcode, close.code) == (CLOSE, 1011)
        line = server.wait_for("WebSocket closed")
        assert (line["code"], line["connection_id"] != other_id) == (1011, True)
        other.send_message("ping", 1)
        assert other.hear_reply(1) == "pong"


# --- the log ------------------------------------------------------------------------------


def test_log(server: ServerProcess) -> None:
    """The handshake is a request with status 101, whose id ties it to the connection's lines."""
    with connect(server, "/ws?token=hunter2") as client:
        connection_id = client.hear_welcome()
    access = server.wait_for(logger="x121.access", request_id=client.request_id)
    assert (access["method"], access["path"], access["status"]) == ("GET", "/ws", 101)
    closed = server.wait_for("WebSocket closed", connection_id=connection_id)
    assert (closed["logger"], closed["level"], closed["code"]) == ("x121.ws", "info", 1000)
    assert 0 < closed["seconds"] < DEADLINE_SECS
    (connected, _) = server.find(connection_id=connection_id)
    assert connected["message"] == "WebSocket connected"
    assert (connected["level"], connected["request_id"]) == ("info", client.request_id)
    assert b"hunter2" not in b"".join(server.raw)


def test_no_secrets(serve: Serve, database: DbConfig) -> None:
    """No cookie, no authorization and no query gets into the log, not even while debugging."""
    server = serve(database_environ(database) | {"LOG_LEVEL": "debug"}, trials=True)
    secrets = {"Cookie": "session=hunter2", "Authorization": "Bearer hunter3"}
    with connect(server, "/ws/trials?token=hunter4", additional_headers=secrets) as client:
        client.hear_welcome()
        client.send_message("trials.fail", 1)
        client.hear()
        client.connection.send(b"hunter5")
        client.hear()
    refused(server, "/ws?hunter6", origin="http://evil.test", additional_headers=secrets)
    refused(server, "/nowhere?hunter7", additional_headers=secrets)
    with RawClient(server, "/ws?hunter8") as wrong:
        wrong.socket.sendall(b"hunter9 is no frame")
        assert wrong.answer_close() == 1002
    assert server.stop() == 0
    assert server.find(level="debug")
    assert len(server.find(logger="x121.access")) == 4
    assert b"hunter" not in b"".join([*server.raw, *server.errors])
