"""Name servers that don't answer: a stop doesn't wait for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import PausablePostgres
from tests.process.conftest import Serve
from tests.process.server import ServerProcess, database_environ, wait_until
from x121.config import DbConfig

PROGRAM = ("-m", "tests.process.stuck_names")


def stops_in_order(server: ServerProcess) -> None:
    wait_until((server.folder / "stuck").exists, "a lookup without an answer")
    assert server.stop() == 0
    assert server.lines[-1]["seconds"] < 5
    assert not server.find("threads still work")
    assert not any("traceback" in line for line in server.lines)


def test_while_it_serves(serve: Serve, folder: Path, private_postgres: PausablePostgres) -> None:
    """A database that went away with its name servers doesn't keep the server from stopping."""
    config = private_postgres.config(private_postgres.create_database())
    server = serve(database_environ(config) | {"DB_HOST": "db.example"}, program=PROGRAM)
    assert server.get("/health/ready").status == 200
    (folder / "outage").touch()
    private_postgres.stop()
    stops_in_order(server)


@pytest.mark.parametrize("variable", ["DB_HOST", "SERVER_HOST"])
def test_while_it_starts(serve: Serve, folder: Path, database: DbConfig, variable: str) -> None:
    """A start that waits for the address of a name can be stopped."""
    (folder / "outage").touch()
    server = serve(database_environ(database) | {variable: "name.example"}, program=PROGRAM)
    stops_in_order(server)
