"""How the process starts, and how it says that it can't."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import PausablePostgres
from tests.process.conftest import Serve
from tests.process.server import HOST, database_environ
from x121.app import application
from x121.config import DbConfig
from x121.testing.postgres import Postgres

WRONG = {
    "SERVER_PORT": "70000",
    "DB_POOL_MAX": "many",
    "CORS_ORIGINS": "https://app.example.com/path,*",
    "WS_ALLOWED_ORIGINS": "*",
    "DB_PASSWORD": "hunter2",
    "DB_SSL": "perhaps",
}


# --- what is there when it has started ----------------------------------------------------


def test_parts(serve: Serve, embedded: dict[str, str], speed: str) -> None:
    """The fast parts serve where they are installed, the stock ones where they are asked for."""
    server = serve(embedded)
    parts = server.wait_for("Running on")
    if speed == "fast":
        assert (parts["reactor"], parts["channel"]) == ("UvloopReactor", "FastChannel")
    else:
        assert parts["reactor"] != "UvloopReactor"
        assert parts["channel"] == "Channel"


@pytest.mark.parametrize(("asked", "got"), [("x121", "UvloopReactor"), ("select", "SelectReactor")])
def test_reactor_that_twistd_is_given(
    serve: Serve, embedded: dict[str, str], asked: str, got: str
) -> None:
    """``twistd --reactor=NAME`` has the last word."""
    server = serve(embedded, twistd=("-n", "--pidfile=", f"--reactor={asked}"))
    assert server.wait_for("Running on")["reactor"] == got
    assert server.get("/health").status == 200
    assert server.stop() == 0


def test_embedded(serve: Serve) -> None:
    """Without any configuration the server starts on the embedded PostgreSQL, step by step."""
    server = serve({})
    assert server.get("/health").json == {"status": "ok"}
    assert server.get("/health/ready").json == {"status": "ok"}
    messages = [line["message"] for line in server.lines if "message" in line]
    steps = [
        "Starting the embedded PostgreSQL",
        "PostgreSQL accepts connections",
        "Migrations:",
        "pool started",
    ]
    found = [next(i for i, text in enumerate(messages) if step in text) for step in steps]
    assert found == sorted(found)
    assert "Server listening on http://127.0.0.1:" in messages[-1]
    assert not server.find(level="warn")


def test_database_server(serve: Serve, database: DbConfig) -> None:
    """With ``DB_HOST`` the server starts on that database and never shows the password."""
    server = serve(database_environ(database) | {"LOG_LEVEL": "debug"})
    assert server.get("/health/ready").status == 200
    assert not server.find("embedded")
    assert not (server.folder / "var").exists()
    assert database.password.encode() not in b"".join(server.raw)


def test_behind_a_pooler(
    serve: Serve, empty_database: DbConfig, pgbouncer: Callable[..., DbConfig]
) -> None:
    """Behind a PgBouncer in transaction mode servers start and stop, and say what it drops."""
    environ = database_environ(pgbouncer(empty_database, pool_mode="transaction"))
    for _ in range(2):
        server = serve(environ)
        assert server.get("/health/ready").status == 200
        (warning,) = server.find(level="warn")
        assert "ALTER ROLE" in warning["message"]
        assert server.stop() == 0


def test_four_at_once(serve: Serve, empty_database: DbConfig, postgres: Postgres) -> None:
    """Four servers that start together on an empty database apply each migration once."""
    servers = [serve(database_environ(empty_database)) for _ in range(4)]
    for server in servers:
        assert server.get("/health/ready").status == 200
    applied = sum(server.wait_for("Migrations: ")["applied"] for server in servers)
    assert applied == len(application.read_migrations())
    rows = postgres.query("SELECT count(*) FROM x121_migrations", empty_database.name)
    assert rows == [(applied,)]


# --- configuration ------------------------------------------------------------------------


def test_wrong_configuration(serve: Serve) -> None:
    """One message lists every wrong variable with its value, and no secret."""
    server = serve(WRONG | {"LOG_FORMAT": "console"})
    assert server.wait() == 1
    first, *problems = b"".join(server.errors).decode().splitlines()
    assert first == "x121: wrong configuration:"
    names = [problem.strip().partition("=")[0] for problem in problems]
    assert sorted(names) == sorted(WRONG.keys() - {"DB_PASSWORD"})
    assert any("SERVER_PORT=70000 (environment): expected a" in problem for problem in problems)
    assert "hunter2" not in b"".join(server.errors).decode()
    assert server.raw == []


def test_wrong_configuration_as_json(serve: Serve) -> None:
    """With ``LOG_FORMAT=json`` that message is one JSON line."""
    server = serve(WRONG)
    assert server.wait() == 1
    (line,) = server.errors
    message = json.loads(line)["message"]
    assert json.loads(line)["level"] == "error"
    assert all(name in message for name in WRONG if name != "DB_PASSWORD")
    assert "hunter2" not in message
    assert server.raw == []


def test_env_file(serve: Serve, folder: Path, database: DbConfig) -> None:
    """The environment wins over ``.env``, where an unknown name is warned of."""
    lines = [f"{name}='{value}'" for name, value in database_environ(database).items()]
    lines += ["SERVER_PORT=70000", "WS_HEARTBEAT_INTERVAL=5"]
    (folder / ".env").write_text("\n".join(lines))
    server = serve({"SERVER_PORT": "0"})
    assert server.get("/health/ready").status == 200
    (warning,) = server.find(level="warn")
    assert "WS_HEARTBEAT_INTERVAL " in warning["message"]
    assert "did you mean WS_HEARTBEAT_INTERVAL_SECS?" in warning["message"]


def test_env_file_option(serve: Serve, folder: Path) -> None:
    """``--env-file`` names the file to read instead of ``.env``."""
    (folder / "mine").write_text("DB_POOL_MIN=many\n")
    server = serve({}, arguments=["--env-file=mine"])
    assert server.wait() == 1
    assert b"DB_POOL_MIN=many (" in server.errors[0]


def test_missing_env_file(serve: Serve) -> None:
    """A file that ``--env-file`` names and that isn't there is an error."""
    server = serve({}, arguments=["--env-file=nowhere"])
    assert server.wait() == 1
    assert "nowhere: there is no such file" in json.loads(server.errors[0])["message"]


# --- what may be missing ------------------------------------------------------------------


def test_unreachable_database(serve: Serve, free_port: int) -> None:
    """A database that never answers ends the start with one line that says where and why."""
    server = serve({"DB_HOST": HOST, "DB_PORT": str(free_port), "DB_CONNECT_TIMEOUT_SECS": "0.5"})
    assert server.wait() == 1
    (line,) = server.find(level="error")
    assert line["message"].startswith("Start failed: ")
    assert HOST in line["message"]
    assert str(free_port) in line["message"]
    assert "refused" in line["message"]
    assert server.find("trying for 0.5 s", level="warn")
    assert server.errors == []


def test_wrong_password(serve: Serve, database: DbConfig) -> None:
    """A password that the database refuses ends the start, and isn't shown."""
    environ = {"DB_PASSWORD": "hunter2", "DB_CONNECT_TIMEOUT_SECS": "0.3"}
    server = serve(database_environ(database) | environ)
    assert server.wait() == 1
    (line,) = server.find(level="error")
    assert "password authentication failed" in line["message"]
    assert b"hunter2" not in b"".join(server.raw)


def test_database_comes_later(serve: Serve, private_postgres: PausablePostgres) -> None:
    """A database that comes up while the server waits for it is used."""
    config = private_postgres.config(private_postgres.create_database())
    private_postgres.stop()
    server = serve(database_environ(config))
    server.wait_for("database is not reachable; retrying")
    private_postgres.start()
    assert server.get("/health/ready").status == 200


def test_port_in_use(serve: Serve, database: DbConfig) -> None:
    """A port that somebody else has ends the start with one line that names it."""
    first = serve(database_environ(database))
    second = serve(database_environ(database) | {"SERVER_PORT": str(first.port)})
    assert second.wait() == 1
    (line,) = second.find(level="error")
    assert f"{HOST}:{first.port}" in line["message"]
    assert "in use" in line["message"]
    assert second.errors == []
    assert first.get("/health").status == 200


@pytest.mark.parametrize(
    ("change", "file_name"),
    [
        ("UPDATE x121_migrations SET checksum = 'x' WHERE version = 1", "0001_set_updated_at.sql"),
        (
            "UPDATE x121_migrations SET version = 9999, name = 'x' WHERE source = 'application'",
            "9999_x.sql",
        ),
    ],
    ids=["edited", "missing"],
)
def test_wrong_migrations(
    serve: Serve, database: DbConfig, postgres: Postgres, change: str, file_name: str
) -> None:
    """A migration that was edited or is missing ends the start with its name."""
    assert serve(database_environ(database)).port
    postgres.query(change, database.name)
    server = serve(database_environ(database))
    assert server.wait() == 1
    (line,) = server.find(level="error")
    assert file_name in line["message"]
