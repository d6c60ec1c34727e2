"""A database that becomes read-only, and one whose standby takes over."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests.postgres import PausablePostgres, Standby
from x121.config import DbConfig
from x121.db.pool import Pool, make_pool
from x121.errors import ServiceUnavailable, as_app_error
from x121.testing.app import App
from x121.testing.postgres import Postgres, running_postgres
from x121.testing.waiting import global_reactor


@asynccontextmanager
async def pooled(config: DbConfig, **changes: Any) -> AsyncIterator[Pool]:
    changes = {"pool_min": 2, "pool_max": 2, "acquire_timeout_secs": 0.5} | changes
    pool = make_pool(
        replace(config, **changes), reactor=global_reactor(), statement_timeout_secs=10
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop(grace_secs=0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    reactor = global_reactor()
    end = reactor.seconds() + 20
    while not condition():
        assert reactor.seconds() < end, "it did not happen in time"
        await deferLater(reactor, 0.02)


async def make_read_only(server: Postgres, pool: Pool) -> None:
    """Have the server refuse writes, in the sessions that ``pool`` has as well."""
    server.query("ALTER SYSTEM SET default_transaction_read_only = on")
    server.query("SELECT pg_reload_conf()")
    async with pool.acquire() as one, pool.acquire() as other:
        for session in (one, other):
            while await session.fetch_one("SHOW transaction_read_only") == ("off",):
                await deferLater(global_reactor(), 0.02)


def make_writable(server: Postgres) -> None:
    server.query("ALTER SYSTEM RESET default_transaction_read_only")
    server.query("SELECT pg_reload_conf()")


@pytest_twisted.ensureDeferred
async def test_write_to_a_read_only_server(private_postgres: PausablePostgres) -> None:
    """A write that is refused is 503 and its connection is replaced, by one that can write."""
    config = private_postgres.config(private_postgres.create_database())
    async with pooled(config) as pool:
        await pool.execute("CREATE TABLE item (id int)")
        await make_read_only(private_postgres, pool)
        for _ in range(2):
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction) as caught:
                async with pool.transaction() as transaction:
                    await transaction.execute("INSERT INTO item VALUES (1)")
            assert as_app_error(caught.value).headers == {"Retry-After": "1"}
        assert (pool.stats().size, pool.stats().lost_total) == (0, 2)
        with pytest.raises(ServiceUnavailable, match="No database connection") as refused:
            await pool.execute("INSERT INTO item VALUES (1)")
        assert "session is read-only (see DB_TARGET_SESSION_ATTRS)" in refused.value.detail
        make_writable(private_postgres)
        await until(lambda: pool.stats().idle == 2)
        assert await pool.execute("INSERT INTO item VALUES (1)") == 1


@pytest_twisted.ensureDeferred
async def test_readiness(private_postgres: PausablePostgres) -> None:
    """``/health/ready`` is 503 while the database is read-only, also if nobody writes."""
    config = private_postgres.config(private_postgres.create_database())
    async with pooled(config) as pool:
        with App(pool=pool) as app:
            assert (await app.fetch("GET", "/health/ready")).status == 200
            assert pool.stats().lost_total == 0
            await make_read_only(private_postgres, pool)
            response = await app.fetch("GET", "/health/ready")
            assert (response.status, response.json["status"]) == (503, "read-only")
            assert "retry-after" in response.headers
            make_writable(private_postgres)
            await until(lambda: pool.stats().idle == 2)
            assert (await app.fetch("GET", "/health/ready")).status == 200


@pytest_twisted.ensureDeferred
async def test_readiness_where_any_server_will_do(private_postgres: PausablePostgres) -> None:
    """With DB_TARGET_SESSION_ATTRS=any a server that is read-only is used, and ready."""
    config = private_postgres.config(private_postgres.create_database())
    async with pooled(config, target_session_attrs="any") as pool:
        await make_read_only(private_postgres, pool)
        with App(pool=pool, DB_TARGET_SESSION_ATTRS="any") as app:
            assert (await app.fetch("GET", "/health/ready")).status == 200
            assert pool.stats().lost_total == 0


@pytest_twisted.ensureDeferred
async def test_failover(
    private_postgres: PausablePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name's addresses the primary's is used, and the standby's once that takes over."""
    primary = private_postgres
    config = replace(primary.config(primary.create_database()), host="db.test")
    with running_postgres(Standby(primary)) as standby:
        assert isinstance(standby, Standby)
        addresses = [standby.host, primary.host]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        async with pooled(config) as pool:
            where = "SELECT host(inet_server_addr())"
            assert await pool.fetch_one(where) == (primary.host,)
            await pool.execute("CREATE TABLE item (id int)")
            find_table = "SELECT 1 FROM pg_tables WHERE tablename = 'item'"
            await until(lambda: standby.query(find_table, config.name))
            primary.stop("immediate")
            standby.promote()
            await until(lambda: pool.stats().opened_total == 4 and pool.stats().idle == 2)
            assert await pool.fetch_one(where) == (standby.host,)
            assert await pool.execute("INSERT INTO item VALUES (1)") == 1
