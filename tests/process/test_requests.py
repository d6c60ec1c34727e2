"""What becomes of a request and its query, and what the log says of it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import active_queries
from tests.process.server import Line, ServerProcess, database_environ, wait_until
from x121.config import DbConfig
from x121.testing.postgres import Postgres


@pytest.fixture(scope="module")
def config(postgres: Postgres) -> DbConfig:
    """Return the database that the tests of this module share."""
    return postgres.config(postgres.create_database())


@pytest.fixture(scope="module")
def server(
    speed: str, config: DbConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return the server that the tests of this module share; none of them ends it."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder, database_environ(config), trials=True) as server:
        yield server


def lines_of(server: ServerProcess, path: str) -> list[Line]:
    """Return every line of the one request for ``path``, once its last is there."""
    request_id = server.wait_for(logger="x121.access", path=path)["request_id"]
    return server.find(request_id=request_id)


def test_parts(server: ServerProcess, speed: str) -> None:
    """The server that tests share is one of the fast parts, or of the stock ones, as they ask."""
    channel = "FastChannel" if speed == "fast" else "Channel"
    assert server.wait_for("Running on")["channel"] == channel


def test_timeout(tmp_path: Path, database: DbConfig, postgres: Postgres) -> None:
    """A request that takes too long is answered with 408, and its query ends."""
    environ = database_environ(database) | {"REQUEST_TIMEOUT_SECS": "0.5"}
    with ServerProcess(tmp_path, environ, trials=True) as server:
        connection = server.send("/trials/query/600.0")
        wait_until(lambda: active_queries(postgres, database.name), "the query")
        response = connection.getresponse()
        assert response.status == 408
        assert b'"code":"REQUEST_TIMEOUT"' in response.read()
        wait_until(lambda: not active_queries(postgres, database.name), "the end of the query")
        line = server.wait_for(logger="x121.access", status=408)
        assert 500 <= line["duration_ms"] < 5000
        assert server.get("/health/ready").status == 200
        assert server.stop() == 0
        assert not server.find(level="error")


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_client_leaves(
    server: ServerProcess, config: DbConfig, postgres: Postgres, how: str
) -> None:
    """The query of a client that left ends; the log says 499, at info and without a traceback."""
    path = "/trials/query/600.0" if how == "closed" else "/trials/query/601.0"
    connection = server.send(path)
    wait_until(lambda: active_queries(postgres, config.name), "the query")
    if how == "reset":
        no_linger = struct.pack("ii", 1, 0)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    connection.close()
    wait_until(lambda: not active_queries(postgres, config.name), "the end of the query")
    access = lines_of(server, path)[-1]
    assert (access["level"], access["status"]) == ("info", 499)
    assert not server.find(level="error", request_id=access["request_id"])
    assert not any("traceback" in line for line in server.find(request_id=access["request_id"]))


def test_client_leaves_a_stream(server: ServerProcess) -> None:
    """A client that leaves in the middle of a response is a 499 too."""
    connection = server.send("/trials/stream/100000")
    assert len(connection.getresponse().read(100_000)) == 100_000
    connection.sock.close()
    connection.close()
    access = lines_of(server, "/trials/stream/100000")[-1]
    assert (access["level"], access["status"]) == ("info", 499)


def test_unexpected_exception(server: ServerProcess) -> None:
    """An exception is one line with a traceback and the request's id, and nothing of it is sent."""
    answer = server.get("/trials/fail")
    assert answer.status == 500
    assert answer.json == {"error": "Internal server error", "code": "PANIC"}
    failure, access = lines_of(server, "/trials/fail")
    assert access["request_id"] == answer.headers["X-Request-Id"]
    assert (failure["level"], access["level"]) == ("error", "info")
    assert "RuntimeError: a secret of the handler's" in failure["traceback"]


def test_noise(server: ServerProcess) -> None:
    """What is printed, warned of or logged by Python's logging is JSON with the request's id."""
    assert server.get("/trials/noise").status == 204
    noise = {
        line["message"].rpartition(": ")[2]: (line["level"], line["logger"])
        for line in lines_of(server, "/trials/noise")[:-1]
    }
    assert noise == {
        "noise from print": ("info", "stdout"),
        "noise from standard error": ("error", "stderr"),
        "noise from warnings": ("warn", "twisted.logger._global"),
        "noise from logging": ("warn", "library"),
    }
    assert server.errors == []


def test_access_line(server: ServerProcess) -> None:
    """The line of a request has exactly the contract's keys, and no query string."""
    answer = server.get("/health/live?token=hunter2")
    (line,) = lines_of(server, "/health/live")
    assert line.keys() == {
        *("timestamp", "level", "logger", "method", "path", "status", "duration_ms", "bytes"),
        *("remote", "request_id"),
    }
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert line["bytes"] == len(answer.body)
    assert b"hunter2" not in b"".join(server.raw)


def test_console(tmp_path: Path, database: DbConfig) -> None:
    """With ``LOG_FORMAT=console`` lines are for people."""
    environ = database_environ(database) | {"LOG_FORMAT": "console"}
    with ServerProcess(tmp_path, environ) as server:
        wait_until(lambda: b"Server listening" in b"".join(server.raw), "the start")
        assert server.stop() == 0
        assert not any(line.startswith(b"{") for line in server.raw)
        assert b"info  x121.runtime.server: Stopped in" in server.raw[-1]
