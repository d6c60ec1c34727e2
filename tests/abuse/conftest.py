"""A server to attack, on the fast parts and on the stock ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process.conftest import folder, serve, speed
from tests.process.server import ServerProcess, database_environ
from x121.testing.postgres import Postgres

__all__ = ["folder", "serve", "server", "speed"]


@pytest.fixture(scope="package")
def server(
    speed: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Return a server with the trials, which the tests of this folder share; none of them ends it.

    A test that needs other settings starts one with ``serve``.
    """
    environ = database_environ(postgres.config(postgres.create_database()))
    with ServerProcess(tmp_path_factory.mktemp("server"), environ, trials=True) as server:
        yield server
