"""A connection's socket in the reactor, on Twisted's and on ours."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import psycopg2
import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.reactor.reactors import REACTORS, run
from x121.config import DbConfig
from x121.db.connection import Connection, connect
from x121.db.pool import Pool, make_pool
from x121.testing.postgres import Postgres

# Python functions of x121.db and Twisted's Deferred that one fetch_one may call.
_MAX_CALLS = 34


@pytest.fixture(params=list(REACTORS))
def kind(request: pytest.FixtureRequest) -> str:
    """Return what kind of reactor a test is on."""
    kind: str = request.param
    return kind


async def started(config: DbConfig, reactor: Any) -> Pool:
    pool = make_pool(config, reactor=reactor, statement_timeout_secs=10)
    await pool.start()
    return pool


async def connected(config: DbConfig, reactor: Any) -> Connection:
    return await connect(config, reactor=reactor, statement_timeout_secs=10, timeout_secs=10)


def test_stays_a_reader(kind: str, database: DbConfig) -> None:
    """Queries don't remove a connection from the reactor, or add it again."""
    changes: list[str] = []

    async def scenario(reactor: Any) -> None:
        connection = await connected(database, reactor)
        for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
            setattr(reactor, name, lambda _, name=name: changes.append(name))
        for _ in range(3):
            result = await connection.execute("SELECT 1 WHERE pg_sleep(0.001) IS NOT NULL")
            assert result.rows == [(1,)]
        assert changes == []
        for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
            delattr(reactor, name)
        assert connection in reactor.getReaders()
        connection.close()
        assert connection not in reactor.getReaders()

    run(kind, scenario)


def test_loss_while_idle(kind: str, postgres: Postgres, database: DbConfig) -> None:
    """A connection that the server ends after a query, while it is idle, is noticed."""

    async def scenario(reactor: Any) -> None:
        connection = await connected(database, reactor)
        lost: Deferred[BaseException] = Deferred()
        connection.on_lost = lost.callback
        ((pid,),) = (await connection.execute("SELECT pg_backend_pid()")).rows
        postgres.query(f"SELECT pg_terminate_backend({pid})")
        assert isinstance(await lost, psycopg2.OperationalError)
        assert connection.closed
        assert not connection.is_clean
        assert connection not in reactor.getReaders()

    run(kind, scenario)


def test_cancel(kind: str, database: DbConfig) -> None:
    """A cancelled query is ended by the server, and its connection serves the next caller."""

    async def scenario(reactor: Any) -> None:
        pool = await started(database, reactor)
        slow = Deferred.fromCoroutine(pool.fetch_one("SELECT pg_backend_pid(), pg_sleep(30)"))
        reactor.callLater(0.01, slow.cancel)
        with pytest.raises(CancelledError):
            await slow
        assert pool.stats().recovering == 1
        await pool.stop(grace_secs=5)
        assert pool.stats().lost_total == 0

    run(kind, scenario)


def test_transaction(kind: str, database: DbConfig) -> None:
    """A transaction commits, and its callbacks run after it."""
    committed: list[str] = []

    async def scenario(reactor: Any) -> None:
        pool = await started(database, reactor)
        await pool.execute("CREATE TABLE item (id int)")
        async with pool.transaction() as transaction:
            await transaction.execute("INSERT INTO item VALUES (%s)", (1,))
            transaction.on_commit(lambda: committed.append("committed"))
            assert committed == []
        assert committed == ["committed"]
        assert await pool.fetch_all("SELECT id FROM item") == [(1,)]
        await pool.stop()

    run(kind, scenario)


def test_calls_of_a_query(kind: str, database: DbConfig) -> None:
    """A query that waits for its row takes few calls: 28, once 46."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and ("x121/db/" in code.co_filename or "defer.py" in code.co_filename):
            calls[code.co_qualname] += 1

    async def scenario(reactor: Any) -> None:
        pool = await started(database, reactor)
        query = "SELECT %s WHERE pg_sleep(0.005) IS NOT NULL"
        await pool.fetch_one(query, (1,))
        sys.setprofile(count)
        try:
            await pool.fetch_one(query, (2,))
        finally:
            sys.setprofile(None)
        await pool.stop()

    run(kind, scenario)
    assert calls["Connection.continuePolling"] >= 2, "it has waited"
    assert calls["Deferred.__init__"] == 1
    assert calls.total() <= _MAX_CALLS, calls
