"""Fixtures for pytest with pytest-twisted.

A ``conftest.py`` at the top of the tests names them::

    pytest_plugins = ["x121.testing.fixtures"]

A test that awaits is decorated::

    @pytest_twisted.ensureDeferred
    async def test_ready(app: App) -> None:
        assert (await app.fetch("GET", "/health/ready")).status == 200
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from x121.config import DbConfig
from x121.db.pool import Pool
from x121.testing.app import App
from x121.testing.database import Databases, running_pool
from x121.testing.postgres import Postgres, running_postgres

__all__ = ["app", "database", "databases", "empty_database", "pool", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return the PostgreSQL that all tests share.  Don't stop it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Databases:
    """Return the factory of the tests' databases."""
    return Databases(postgres)


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[DbConfig]:
    """Return the configuration of a new, empty database; its user is the owner."""
    with databases.empty() as config:
        yield config


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def database(databases: Databases) -> AsyncIterator[DbConfig]:
    """Return the configuration of a new, migrated database; its user is the owner."""
    async with databases.migrated() as config:
        yield config


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]
async def pool(database: DbConfig) -> AsyncIterator[Pool]:
    """Return a pool on a new database."""
    async with running_pool(database) as pool:
        yield pool


@pytest.fixture
def app(pool: Pool) -> Iterator[App]:
    """Return the server in memory, with a new database."""
    with App(pool=pool) as app:
        yield app
