"""Databases for tests, one each, with the migrations applied.

The migrations are applied once, to a template. A test's database is a copy of it, which takes some
10 ms. So a test may commit, use several connections and cause deadlocks, as the server does;
nothing is rolled back without its knowledge.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from psycopg2 import sql

from x121.config import DbConfig
from x121.db.migrations import Migration, migrate
from x121.db.pool import Pool, make_pool
from x121.runtime.load import load_application
from x121.testing.postgres import Postgres
from x121.testing.waiting import global_reactor

__all__ = ["Databases", "running_pool"]

_STATEMENT_TIMEOUT_SECS = 35.0  # the server's default


class Databases:
    """Test databases on one server.

    ``read`` returns the migrations; by default those of the application that ``X121_APP`` names.
    """

    def __init__(
        self, server: Postgres, read: Callable[[], Sequence[Migration]] | None = None
    ) -> None:
        self._server = server
        self._read = read or load_application(os.environ).read_migrations
        self._template: str | None = None
        self._left: list[str] = []

    @contextmanager
    def empty(self) -> Iterator[DbConfig]:
        """Yield the configuration of a new, empty database; its user is the owner."""
        with self._copy("template1") as config:
            yield config

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[DbConfig]:
        """Yield the configuration of a new, migrated database; its user is the owner.

        Raises :class:`~x121.db.migrations.MigrationError`.
        """
        if self._template is None:
            self._template = await self._make_template()
        with self._copy(self._template) as config:
            yield config

    async def _make_template(self) -> str:
        name = self._server.create_database()
        await migrate(self._server.config(name), self._read(), reactor=global_reactor())
        return name

    @contextmanager
    def _copy(self, template: str) -> Iterator[DbConfig]:
        self._drop_left()
        name = self._server.create_database(template)
        try:
            yield self._server.config(name)
        finally:
            self._left.append(name)

    def _drop_left(self) -> None:
        """Drop the databases of earlier tests.

        Not at the end of each test: PostgreSQL would wait a tenth of a second for connections that
        were just closed. And not while connections exist, for the same reason.
        """
        if not self._left:
            return
        busy = self._server.query("SELECT DISTINCT datname FROM pg_stat_activity")
        for name in self._left[:]:
            if (name,) not in busy:
                self._server.query(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
                self._left.remove(name)


@asynccontextmanager
async def running_pool(config: DbConfig) -> AsyncIterator[Pool]:
    """Yield a pool on a database; it opens connections as they are needed."""
    pool = make_pool(
        dataclasses.replace(config, pool_min=0),
        reactor=global_reactor(),
        statement_timeout_secs=_STATEMENT_TIMEOUT_SECS,
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop()
