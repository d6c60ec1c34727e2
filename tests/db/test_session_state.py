"""A borrower leaves nothing behind for the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_twisted
from psycopg2.sql import SQL, Identifier
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.postgres import active_queries
from x121.config import DbConfig
from x121.db.pool import Pool, make_pool
from x121.db.session_state import changes_session
from x121.testing.postgres import Postgres
from x121.testing.waiting import global_reactor


@asynccontextmanager
async def single(config: DbConfig) -> AsyncIterator[Pool]:
    """Give a pool with one connection, which it must not replace."""
    config = replace(config, pool_min=1, pool_max=1)
    pool = make_pool(config, reactor=global_reactor(), statement_timeout_secs=20)
    await pool.start()
    try:
        yield pool
        assert pool.stats().opened_total == 1
    finally:
        await pool.stop(grace_secs=0)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "  select 1 ;\n",
        "-- a comment\nSELECT 1",
        "/* SET */ UPDATE t SET a = %s",
        "INSERT INTO t (temperature) VALUES (1)",
        "WITH new AS (DELETE FROM t RETURNING *) SELECT * FROM new",
        "(SELECT 1) UNION (SELECT 2)",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "COMMIT",
        "ROLLBACK TO SAVEPOINT a",
        "SET LOCAL search_path = a",
        "set  transaction read only",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('app.user', %s, true)",
        "SELECT pg_advisory_xact_lock(%s), pg_try_advisory_xact_lock(1)",
        "SHOW search_path",
        "NOTIFY news",
    ],
)
def test_harmless(text: str) -> None:
    """What leaves nothing behind costs nothing."""
    assert not changes_session(text)


@pytest.mark.parametrize(
    "text",
    [
        "SET search_path = a",
        "/* a */ set role b",
        "RESET ALL",
        "CREATE TEMP TABLE t (a int)",
        "SELECT 1 AS a INTO TEMPORARY t",
        "SELECT 1 INTO pg_temp.t",
        "LISTEN news",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_catalog.pg_try_advisory_lock_shared(1)",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT set_config('a.b', 'c', true), set_config('a.b', 'c', false)",
        "SELECT 1; SET a.b = 'c'",
        "DO $$ BEGIN SET a.b = 'c'; END $$",
        "CALL p()",
        "",
        "SELECTED",
    ],
)
def test_changes(text: str) -> None:
    """What may leave something behind is recognised, and whatever isn't known."""
    assert changes_session(text)


@pytest_twisted.ensureDeferred
async def test_settings(database: DbConfig) -> None:
    """Settings and roles are as before, and those that a connection is opened with are kept."""
    query = "SELECT name, setting FROM pg_settings WHERE name != 'transaction_isolation' ORDER BY 1"
    who = "SELECT current_user, session_user, current_setting('search_path')"
    async with single(database) as pool:
        before = await pool.fetch_all(query), await pool.fetch_one(who)
        for statement in (
            "SET search_path = nowhere",
            "SET statement_timeout = 5000",
            "SET TIME ZONE 'Europe/Paris'",
            "SET client_connection_check_interval = 0",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            SQL("SET ROLE {}").format(Identifier("pg_database_owner")),
            "SELECT set_config('app.user', 'somebody', false)",
            "SELECT 1; SET application_name = 'other'",
        ):
            async with pool.transaction() as transaction:
                await transaction.execute(statement)
            assert (await pool.fetch_all(query), await pool.fetch_one(who)) == before
            (user,) = await pool.fetch_one("SELECT current_setting('app.user', true)")
            assert not user


@pytest_twisted.ensureDeferred
async def test_objects(database: DbConfig) -> None:
    """Temporary tables, prepared statements, cursors, LISTEN and advisory locks are gone."""
    async with single(database) as pool:
        for statement, left in (
            ("CREATE TEMP TABLE t (a int)", "SELECT FROM pg_class WHERE relpersistence = 't'"),
            ("SELECT 1 AS a INTO TEMP t", "SELECT FROM pg_class WHERE relpersistence = 't'"),
            ("PREPARE p AS SELECT 1", "SELECT FROM pg_prepared_statements"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT FROM pg_cursors WHERE is_holdable"),
            ("LISTEN news", "SELECT pg_listening_channels()"),
            ("SELECT pg_advisory_lock(1)", "SELECT FROM pg_locks WHERE locktype = 'advisory'"),
        ):
            async with pool.acquire() as session:
                await session.execute(statement)
                assert await session.fetch_all(left)
            assert not await pool.fetch_all(left)


@pytest_twisted.ensureDeferred
async def test_cancelled_borrower(postgres: Postgres, database: DbConfig) -> None:
    """Who is cancelled leaves nothing behind either."""

    async def work() -> None:
        async with pool.acquire() as session:
            await session.execute("SET search_path = nowhere")
            await session.execute("SELECT pg_sleep(20)")

    async with single(database) as pool:
        working = Deferred.fromCoroutine(work())
        while active_queries(postgres, database.name) != ["SELECT pg_sleep(20)"]:
            await deferLater(global_reactor(), 0.01)
        working.cancel()
        with pytest.raises(CancelledError):
            await working
        assert await pool.fetch_one("SHOW search_path") == ('"$user", public',)


@pytest_twisted.ensureDeferred
async def test_plain_use_costs_no_round_trip(database: DbConfig) -> None:
    """After statements that leave nothing behind the connection is idle at once."""
    async with single(database) as pool:
        async with pool.transaction() as transaction:
            await transaction.execute("SET LOCAL search_path = nowhere")
            await transaction.fetch_one("SELECT 1")
        assert (pool.stats().idle, pool.stats().recovering) == (1, 0)
