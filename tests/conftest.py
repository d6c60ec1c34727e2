"""The fixtures that every test may use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Postgres
from x121.config import DbConfig

# The same tests are run by several classes, which Hypothesis takes for a mistake: tests/contract.
settings.register_profile(
    "x121", settings.default, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("x121")


@contextmanager
def _server() -> Iterator[Postgres]:
    # Not tmp_path: its parents are private to whoever runs pytest, and PostgreSQL may run as
    # somebody else.
    with tempfile.TemporaryDirectory(prefix="x121-test-") as folder:
        server = Postgres()
        server.create(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return the server that all tests share.  Don't stop it; see ``private_postgres``."""
    with _server() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> DbConfig:
    """Return a fresh and empty database, as its owner."""
    return postgres.config(postgres.create_database())


@pytest.fixture
def private_postgres() -> Iterator[Postgres]:
    """Return a server of the test's own, to stop, pause and start as it likes."""
    with _server() as server:
        yield server
