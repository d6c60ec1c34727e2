"""How WebSockets end with the server, and with them the process."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

from tests.process.client import RawClient, connect
from tests.process.conftest import Serve
from tests.process.server import (
    DEADLINE_SECS,
    Answer,
    ServerProcess,
    database_environ,
    wait_until,
)
from x121.config import DbConfig
from x121.testing.frames import CLOSE, handshake
from x121.ws.protocol import CLOSE_TIMEOUT_SECS

TRIALS = "/ws/trials"
CLIENTS = 200


def ask_to_stop(server: ServerProcess, connections: int) -> None:
    """Send SIGTERM, and return when the server has begun to close its WebSockets."""
    server.send_signal(signal.SIGTERM)
    server.wait_for(f"Closing {connections} WebSocket connections")


def release(server: ServerProcess) -> None:
    """Let what is held go on."""
    (server.folder / "release").touch()


def report(server: ServerProcess) -> tuple[int, int]:
    """Return how many WebSockets were closed and how many dropped."""
    last = server.lines[-1]
    assert last["message"].startswith("Stopped in"), "the report is the last line"
    return last["websockets_closed"], last["websockets_dropped"]


def test_everybody_leaves(serve: Serve, database: DbConfig) -> None:
    """All are told 1001 while a request is in flight, which finishes; the exit code is 0."""
    server = serve(database_environ(database), trials=True)
    held = server.send("/trials/hold")
    server.wait_for("Trial begun")
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server)) for _ in range(CLIENTS)]
        ask_to_stop(server, CLIENTS)
        assert {client.answer_close() for client in clients} == {1001}
        assert [client.hear_rest() for client in clients] == [[]] * CLIENTS
    assert not server.has_ended
    release(server)
    assert Answer.read(held).json == {"held": True}
    assert server.wait() == 0
    assert report(server) == (CLIENTS, 0)
    assert server.lines[-1]["requests_drained"] == 1
    assert len(server.find("WebSocket closed with", code=1001)) == CLIENTS
    assert not any("traceback" in line for line in server.lines)
    assert server.errors == []


def test_reply_comes_first(serve: Serve, database: DbConfig) -> None:
    """A message that is at work when the signal comes is answered before 1001, however last."""
    server = serve(database_environ(database), trials=True)
    with connect(server, TRIALS) as client, connect(server) as idle:
        connection_id = client.hear_welcome()
        idle.hear_welcome()
        client.send_message("trials.hold", 1)
        client.send_message("ping", 2)
        server.wait_for("Trial begun", connection_id=connection_id)
        meanwhile = server.send("/trials/query/0.3")
        wait_until(lambda: len(server.find("Trial begun")) == 2, "the query")
        ask_to_stop(server, 2)
        assert idle.hear_close()[0] == 1001
        assert Answer.read(meanwhile).status == 200
        release(server)
        assert (client.hear_reply(1), client.hear_reply(2)) == ("held", "pong")
        assert client.hear_close()[0] == 1001
    assert server.wait() == 0
    assert report(server) == (2, 0)


def test_handler_that_does_not_end(serve: Serve, database: DbConfig) -> None:
    """Shortly before the budget ends 1001 comes without a reply, and the handler is cancelled."""
    budget = 2.0
    environ = database_environ(database) | {"SHUTDOWN_TIMEOUT_SECS": str(budget)}
    server = serve(environ, trials=True)
    with connect(server, TRIALS) as client:
        connection_id = client.hear_welcome()
        client.send_message("trials.hold", 1)
        server.wait_for("Trial begun", connection_id=connection_id)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert client.hear_close()[0] == 1001
        assert budget / 2 < time.monotonic() - began < CLOSE_TIMEOUT_SECS
    assert server.wait() == 0
    assert report(server) == (1, 0)
    assert not any("traceback" in line for line in server.lines)


def test_client_that_does_not_answer(serve: Serve, database: DbConfig) -> None:
    """A client that doesn't answer the close frame is dropped with the budget: exit code 1."""
    environ = database_environ(database) | {"SHUTDOWN_TIMEOUT_SECS": "1.5"}
    server = serve(environ, trials=True)
    with RawClient(server) as silent, connect(server) as other:
        other.hear_welcome()
        silent.hear()
        ask_to_stop(server, 2)
        assert other.hear_close()[0] == 1001
        (close,) = silent.hear_rest()
        assert (close.opcode, close.code) == (CLOSE, 1001)
    assert server.wait() == 1
    assert report(server) == (1, 1)
    assert 0.5 <= server.lines[-1]["seconds"] < CLOSE_TIMEOUT_SECS


def test_client_that_does_not_read(serve: Serve, database: DbConfig) -> None:
    """A client that takes nothing, so that no close frame reaches it, is dropped, too."""
    environ = {"SHUTDOWN_TIMEOUT_SECS": "1.5", "WS_SEND_BUFFER_BYTES": str(1 << 30)}
    server = serve(database_environ(database) | environ, trials=True)
    with RawClient(server, receive_buffer=4096), connect(server, TRIALS, max_size=None) as other:
        other.hear_welcome()
        for number in range(4):
            other.send_message("trials.broadcast", number, "x" * 1_000_000)
            other.hear()
            assert other.hear_reply(number) == 2
        ask_to_stop(server, 2)
        assert other.hear_close()[0] == 1001
        assert server.wait() == 1
    assert report(server) == (1, 1)
    assert 0.5 <= server.lines[-1]["seconds"] < CLOSE_TIMEOUT_SECS


def test_late_handshake(serve: Serve, database: DbConfig) -> None:
    """A handshake whose end comes after the signal is answered with 503."""
    server = serve(database_environ(database), trials=True)
    late = server.connect()
    head = handshake("/ws")
    late.sock.settimeout(DEADLINE_SECS)
    late.sock.sendall(head[:-2])
    held = server.send("/trials/hold")  # its line shows that the half head has arrived
    server.wait_for("Trial begun")
    ask_to_stop(server, 0)
    late.sock.sendall(head[-2:])
    answer = b"".join(iter(lambda: late.sock.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"SERVICE_UNAVAILABLE"' in answer
    release(server)
    assert Answer.read(held).status == 200
    assert server.wait() == 0
    assert report(server) == (0, 0)


def test_second_signal(serve: Serve, database: DbConfig) -> None:
    """A second signal waits for nobody."""
    server = serve(database_environ(database))
    with RawClient(server) as silent:
        silent.hear()
        ask_to_stop(server, 1)
        assert silent.hear().code == 1001
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 1
        assert time.monotonic() - began < CLOSE_TIMEOUT_SECS
    assert server.lines[-1]["message"] == "Received SIGTERM again: exiting at once"
