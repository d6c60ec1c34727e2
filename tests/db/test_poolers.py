"""The database behind a PgBouncer: what works there, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from tests.postgres import active_queries
from x121.config import DbConfig
from x121.db.migrations import Migration, MigrationError, migrate
from x121.db.poolers import warn_of_missing_limits
from x121.testing.database import running_pool
from x121.testing.postgres import Postgres

Pooler = Callable[..., DbConfig]

ALONE = "-- x121: no-transaction\n"


def migration(file_name: str, text: str) -> Migration:
    return Migration.parse(file_name, text.encode())


A = migration("0001_a.sql", "CREATE TABLE a (n int); SELECT pg_sleep(0.1)")
INDEX = migration("0002_i.sql", ALONE + "CREATE INDEX CONCURRENTLY i ON a (n)")
BROKEN = migration("0003_b.sql", "SELECT * FROM nothing")


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def warnings() -> Iterator[list[LogEvent]]:
    """Return what is logged about poolers."""
    seen: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "x121.db.poolers":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest_twisted.ensureDeferred
async def test_migrations(
    pgbouncer: Pooler, empty_database: DbConfig, postgres: Postgres, reactor: Any, mode: str
) -> None:
    """Starts take turns, and leave no lock behind, neither at their end nor when one fails."""
    db = pgbouncer(empty_database, pool_mode=mode)
    starts = [Deferred.fromCoroutine(migrate(db, [A, INDEX], reactor=reactor)) for _ in range(3)]
    results = await gatherResults(starts).addTimeout(15, reactor)
    assert sorted(len(applied) for applied in results) == [0, 0, 2]
    for _ in range(2):
        with pytest.raises(MigrationError, match=r"0003_b\.sql, line 1"):
            await migrate(db, [A, INDEX, BROKEN], reactor=reactor)
    assert await migrate(db, [A, INDEX], reactor=reactor) == []
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert postgres.query(locks, empty_database.name) == [(0,)]


@pytest_twisted.ensureDeferred
async def test_cancelled_migration(
    pgbouncer: Pooler, empty_database: DbConfig, reactor: Any
) -> None:
    """A start that is cancelled leaves no lock behind in the pooler's connections."""
    db = pgbouncer(empty_database, pool_mode="transaction")
    slow = [A, migration("0002_b.sql", "SELECT pg_sleep(60)")]
    start = Deferred.fromCoroutine(migrate(db, slow, reactor=reactor))
    await deferLater(reactor, 0.3)
    start.cancel()
    with pytest.raises(CancelledError):
        await start
    again = Deferred.fromCoroutine(migrate(db, [A], reactor=reactor))
    await again.addTimeout(10, reactor)


@pytest_twisted.ensureDeferred
async def test_slow_migration(
    pgbouncer: Pooler, empty_database: DbConfig, postgres: Postgres, reactor: Any
) -> None:
    """A migration may take longer than the role's limits, which a pooler's connections have."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        postgres.query(f"ALTER DATABASE {empty_database.name} SET {name} = '50ms'")
    db = pgbouncer(empty_database, pool_mode="transaction")
    slow = migration("0001_a.sql", "SELECT pg_sleep(0.2)")
    assert len(await migrate(db, [slow], reactor=reactor)) == 1


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"ignore_startup_parameters": ""}, "ignore_startup_parameters = options"),
        ({"pool_mode": "statement"}, "pool_mode = transaction"),
    ],
    ids=["options", "statement mode"],
)
@pytest_twisted.ensureDeferred
async def test_wrong_settings(
    pgbouncer: Pooler,
    empty_database: DbConfig,
    reactor: Any,
    settings: dict[str, str],
    advice: str,
) -> None:
    """A pooler that can't be used is refused with the line that pgbouncer.ini needs."""
    db = pgbouncer(empty_database, **settings)
    with pytest.raises(MigrationError, match=advice):
        await migrate(db, [A], reactor=reactor)


@pytest_twisted.ensureDeferred
async def test_missing_limits(
    pgbouncer: Pooler, empty_database: DbConfig, postgres: Postgres, warnings: list[LogEvent]
) -> None:
    """A pooler that drops statement_timeout is a warning, with the statements that set it."""
    db = pgbouncer(empty_database, pool_mode="transaction")
    async with running_pool(db) as pool:
        await warn_of_missing_limits(pool, db, statement_timeout_secs=35)
    (warning,) = warnings
    assert 'ALTER ROLE "x121" SET statement_timeout = 35000;' in warning["statements"]
    assert "idle_in_transaction_session_timeout = 70000;" in warning["statements"]
    # The advice works.  A database's settings are given up with it, a role's would stay.
    for name, limit in (("statement_timeout", 35000), ("idle_in_transaction_session_timeout", 1)):
        postgres.query(f"ALTER DATABASE {empty_database.name} SET {name} = {limit}")
    db = pgbouncer(empty_database, pool_mode="transaction")
    async with running_pool(db) as pool:
        await warn_of_missing_limits(pool, db, statement_timeout_secs=35)
    assert len(warnings) == 1


@pytest_twisted.ensureDeferred
async def test_limits_in_force(empty_database: DbConfig, warnings: list[LogEvent]) -> None:
    """PostgreSQL itself keeps the limits, and there is no warning."""
    async with running_pool(empty_database) as pool:
        await warn_of_missing_limits(pool, empty_database, statement_timeout_secs=35)
    assert warnings == []


@pytest_twisted.ensureDeferred
async def test_cancelled_query(
    pgbouncer: Pooler, empty_database: DbConfig, postgres: Postgres, reactor: Any
) -> None:
    """A query that is cancelled ends with its connection, since a pooler hides its process."""
    db = pgbouncer(empty_database, pool_mode="transaction")
    async with running_pool(db) as pool:
        query = Deferred.fromCoroutine(pool.fetch_all("SELECT pg_sleep(60)"))
        await deferLater(reactor, 0.2)
        assert len(active_queries(postgres, empty_database.name)) == 1
        query.cancel()
        with pytest.raises(CancelledError):
            await query
        deadline = reactor.seconds() + 15
        while active_queries(postgres, empty_database.name):
            assert reactor.seconds() < deadline
            await deferLater(reactor, 0.05)
        assert await pool.fetch_one("SELECT 1") == (1,)
