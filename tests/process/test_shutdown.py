"""How the process ends: by signals, and with nothing left of it."""

from __future__ import annotations

import http.client
import os
import signal
import socket

import pytest

from tests.postgres import active_queries
from tests.process.conftest import Serve
from tests.process.server import (
    DEADLINE_SECS,
    HOST,
    Answer,
    ServerProcess,
    database_environ,
    wait_until,
)
from x121.config import DbConfig
from x121.testing.postgres import Postgres

REPORT = {"requests_drained", "requests_dropped", "websockets_closed", "websockets_dropped"}


def hold_request(server: ServerProcess) -> http.client.HTTPConnection:
    """Return a connection whose request is being handled until :func:`release`."""
    connection = server.send("/trials/hold")
    server.wait_for("Trial begun")
    return connection


def release(server: ServerProcess) -> None:
    (server.folder / "release").touch()


def idle_connection(server: ServerProcess) -> socket.socket:
    """Return a connection that has had its answer and is kept alive."""
    connection = server.send("/health")
    assert Answer.read(connection).status == 200
    return connection.sock


def received(connection: socket.socket) -> bytes:
    """Return what arrives until the server closes the connection."""
    connection.settimeout(DEADLINE_SECS)
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_drain(serve: Serve, embedded: dict[str, str], number: signal.Signals) -> None:
    """The first signal ends what is idle, waits for what is in flight, and exits with 0."""
    server = serve(embedded, trials=True)
    held = hold_request(server)
    idle = idle_connection(server)
    server.send_signal(number)
    assert received(idle) == b""
    wait_until(lambda: server.refuses_connections, "a closed port")
    assert not server.has_ended
    release(server)
    answer = Answer.read(held)
    assert (answer.status, answer.json) == (200, {"held": True})
    assert answer.headers["Connection"] == "close"
    assert server.wait() == 0
    assert server.find("shutting down", signal=number.name)
    report = server.lines[-1]
    assert {key: report[key] for key in REPORT} == dict.fromkeys(REPORT, 0) | {
        "requests_drained": 1
    }
    assert 0 < report["seconds"] < DEADLINE_SECS
    assert server.left_behind == []
    assert server.errors == []


def test_readiness_while_draining(serve: Serve, database: DbConfig) -> None:
    """Whoever still asks for readiness after the signal is told that the server drains."""
    server = serve(database_environ(database), trials=True)
    asking = idle_connection(server)
    asking.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n")
    held = hold_request(server)  # its answer shows that the half head has arrived
    server.send_signal(signal.SIGTERM)
    server.wait_for("shutting down")
    asking.sendall(b"\r\n")
    head, _, body = received(asking).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b'"status":"draining"' in body
    release(server)
    assert Answer.read(held).status == 200
    assert server.wait() == 0


def test_requests_that_were_not_accepted(serve: Serve, database: DbConfig) -> None:
    """Requests whose connections still wait to be accepted when the signal comes are answered."""
    server = serve(database_environ(database))
    port = server.port
    server.send_signal(signal.SIGSTOP)
    waiting = [socket.create_connection((HOST, port), DEADLINE_SECS) for _ in range(300)]
    for connection in waiting:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    server.send_signal(signal.SIGTERM)
    server.send_signal(signal.SIGCONT)
    responses = []
    for connection in waiting:
        with connection:
            responses.append(received(connection))
    assert {response[:13] for response in responses} == {b"HTTP/1.1 200 "}
    assert server.wait() == 0


def test_stream_is_drained(serve: Serve, database: DbConfig) -> None:
    """A response whose head was sent before the signal arrives whole, and ends its connection."""
    environ = database_environ(database) | {"SHUTDOWN_TIMEOUT_SECS": "5"}
    server = serve(environ, trials=True)
    response = server.send("/trials/halves").getresponse()
    first = response.read(65_536)
    server.send_signal(signal.SIGTERM)
    wait_until(lambda: server.refuses_connections, "a closed port")
    release(server)
    assert len(first + response.read()) == 2 * 65_536
    assert server.wait() == 0
    assert server.lines[-1]["requests_drained"] == 1
    assert server.lines[-1]["seconds"] < 5, "nobody waits for an idle connection"


def test_drop(serve: Serve, database: DbConfig, postgres: Postgres) -> None:
    """What outlives the budget is dropped with its query, and the exit code is 1."""
    environ = database_environ(database) | {"SHUTDOWN_TIMEOUT_SECS": "0.3"}
    server = serve(environ, trials=True)
    dropped = server.send("/trials/query/600.0")
    wait_until(lambda: active_queries(postgres, database.name), "the query")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 1
    report = server.lines[-1]
    assert (report["requests_drained"], report["requests_dropped"]) == (0, 1)
    assert 0.3 <= report["seconds"] < 5
    with pytest.raises(ConnectionError):
        dropped.getresponse()
    wait_until(lambda: not active_queries(postgres, database.name), "the end of the query")
    assert not any("traceback" in line for line in server.lines)


def test_slow_reader(serve: Serve, database: DbConfig) -> None:
    """An answer that its client is still reading arrives whole, however the stop hurries."""
    server = serve(database_environ(database), trials=True)
    connection = server.send("/trials/large")
    assert connection.sock.recv(1, socket.MSG_PEEK) == b"H"
    assert not server.find(path="/trials/large")  # most of it is not written yet
    server.send_signal(signal.SIGTERM)
    server.wait_for("shutting down")
    answer = Answer.read(connection)
    assert len(answer.body) == 8 << 20
    assert server.wait() == 0
    assert server.lines[-1]["requests_drained"] == 1


def test_thread_that_does_not_end(serve: Serve, database: DbConfig) -> None:
    """Work in a thread, which can't be cancelled, does not outlive the budget."""
    server = serve(database_environ(database) | {"SHUTDOWN_TIMEOUT_SECS": "0.5"}, trials=True)
    waiting = server.send(f"/trials/thread/{DEADLINE_SECS * 10:.1f}")
    server.wait_for("Trial begun")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 1
    assert server.find("1 threads still work")
    waiting.close()
    assert server.lines[-1]["requests_dropped"] == 1


def test_second_signal(serve: Serve, embedded: dict[str, str]) -> None:
    """A second signal exits at once with 1; no line is lost and PostgreSQL ends by itself."""
    server = serve(embedded, trials=True)
    hold_request(server)
    server.send_signal(signal.SIGTERM)
    server.wait_for("shutting down")
    server.send_signal(signal.SIGINT)
    assert server.wait() == 1
    assert server.lines[-1]["message"] == "Received SIGINT again: exiting at once"
    wait_until(lambda: not server.left_behind, "the end of PostgreSQL")
    assert server.errors == []


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGXCPU, signal.SIGRTMIN + 1])
def test_other_signals(serve: Serve, embedded: dict[str, str], number: int) -> None:
    """A signal whose default is to end the process stops it in order."""
    server = serve(embedded)
    assert server.port
    os.kill(server.pid, number)
    assert server.wait() == 0
    assert server.find("shutting down")
    assert server.lines[-1].keys() > REPORT
    assert server.left_behind == []


def test_ignored_signal(serve: Serve, database: DbConfig) -> None:
    """SIGUSR2 has no meaning yet: the server says so and goes on."""
    server = serve(database_environ(database))
    assert server.port
    server.send_signal(signal.SIGUSR2)
    server.wait_for("Received SIGUSR2", level="warn")
    assert server.get("/health").status == 200
    assert server.stop() == 0


TAKE_TERMINAL = "import fcntl, os, termios; os.setsid(); fcntl.ioctl(1, termios.TIOCSCTTY, 0)"
ON_A_TERMINAL = ("-c", f"{TAKE_TERMINAL}\nfrom twisted.scripts.twistd import run\nrun()")


def test_closed_terminal(serve: Serve, embedded: dict[str, str], free_port: int) -> None:
    """A terminal that is closed stops the server in order, with its PostgreSQL."""
    ours, terminal = os.openpty()
    environ = embedded | {"SERVER_PORT": str(free_port)}
    server = serve(environ, program=ON_A_TERMINAL, output=terminal)
    os.close(terminal)
    assert server.get("/health/ready").status == 200
    os.close(ours)
    assert server.wait() == 0
    assert server.left_behind == []
    assert server.errors == []


def test_killed(serve: Serve, embedded: dict[str, str]) -> None:
    """After a SIGKILL the next start takes the embedded PostgreSQL over, and stops it."""
    killed = serve(embedded)
    assert killed.port
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert killed.left_behind
    server = serve(embedded)
    assert server.get("/health/ready").status == 200
    assert server.stop() == 0
    assert server.left_behind == []


def test_stop_while_making_the_database(serve: Serve) -> None:
    """A signal while the embedded PostgreSQL is being made leaves no process behind."""
    server = serve({})
    server.wait_for("Creating a PostgreSQL cluster")
    assert server.stop() == 0
    assert server.lines[-1].keys() > REPORT
    assert server.left_behind == []


def test_stop_while_waiting_for_the_database(serve: Serve, free_port: int) -> None:
    """A signal while the database is being waited for ends the wait."""
    server = serve({"DB_HOST": "127.0.0.1", "DB_PORT": str(free_port)})
    server.wait_for("database is not reachable; retrying")
    assert server.stop() == 0
    assert server.lines[-1].keys() > REPORT
    assert server.lines[-1]["seconds"] < 5
    assert not server.find(level="error")
