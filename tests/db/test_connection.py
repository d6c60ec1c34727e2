"""Connections and the pool against a real PostgreSQL, which is cancelled, frozen and stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import psycopg2
import pytest
import pytest_twisted
from psycopg2.sql import SQL, Identifier, Literal
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from tests.postgres import PausablePostgres, active_queries
from x121.config import DbConfig
from x121.db import connection as connection_module
from x121.db.connection import Connection, connect
from x121.db.pool import Pool, make_pool
from x121.errors import AppError, ServiceUnavailable, as_app_error
from x121.testing.postgres import Postgres

begin = Deferred.fromCoroutine


@pytest.fixture
def reactor() -> Any:
    """Return the reactor that pytest-twisted runs."""
    from twisted.internet import reactor

    return reactor


@pytest.fixture(autouse=True)
def nothing_left(reactor: Any) -> Iterator[None]:
    """Hold that a test leaves the reactor as it was: no socket and no timer."""
    before = _content(reactor)
    yield
    assert _content(reactor) == before


def _content(reactor: Any) -> tuple[set[Any], set[Any], list[Any]]:
    # The reactor's own readers come when it first runs.
    readers = {one for one in reactor.getReaders() if "_signals" not in type(one).__module__}
    timers = [one for one in reactor.getDelayedCalls() if "pytest_twisted" not in str(one.func)]
    return readers, set(reactor.getWriters()), timers


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """Return what is logged during the test."""
    seen: list[LogEvent] = []
    observer = cast(ILogObserver, seen.append)
    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


def lines(events: list[LogEvent], *levels: LogLevel) -> list[str]:
    return [str(event["log_format"]) for event in events if event["log_level"] in levels]


async def until(condition: Callable[[], object], reactor: Any, seconds: float = 15) -> None:
    """Wait for something that only another process knows."""
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end, "it did not happen in time"
        await deferLater(reactor, 0.01)


def pids(server: Postgres, config: DbConfig, where: str = "true") -> set[int]:
    """Return the processes that serve the test's database."""
    rows = server.query(
        f"SELECT pid FROM pg_stat_activity WHERE datname = '{config.name}' AND ({where})"
    )
    return {row[0] for row in rows}


@asynccontextmanager
async def connected(config: DbConfig, reactor: Any, **options: Any) -> AsyncIterator[Connection]:
    options = {"statement_timeout_secs": 10.0, "timeout_secs": 10.0} | options
    connection = await connect(config, reactor=reactor, **options)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def pooled(config: DbConfig, reactor: Any, **sizes: Any) -> AsyncIterator[Pool]:
    config = replace(config, **({"pool_min": 1, "pool_max": 2} | sizes))
    pool = make_pool(config, reactor=reactor, statement_timeout_secs=20)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop(grace_secs=0)


def backend(connection: Connection) -> int:
    return int(connection.info.backend_pid)


async def setting(connection: Connection, name: str) -> Any:
    return (await connection.execute("SELECT current_setting(%s)", (name,))).rows[0][0]


# --- connecting -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_settings(database: DbConfig, reactor: Any) -> None:
    """A session is in UTC and UTF-8, named x121, and bounded by the server too."""
    async with connected(database, reactor, statement_timeout_secs=1.5) as connection:
        assert await setting(connection, "statement_timeout") == "1500ms"
        assert await setting(connection, "TimeZone") == "UTC"
        assert await setting(connection, "application_name") == "x121"
        assert await setting(connection, "client_encoding") == "UTF8"
        assert await setting(connection, "idle_in_transaction_session_timeout") == "1min"
        assert await setting(connection, "client_connection_check_interval") == "2s"
        parameters = connection.info.dsn_parameters
        assert parameters["gssencmode"] == "disable"
        assert parameters["keepalives"] == "1"
        assert parameters["tcp_user_timeout"] == "30000"
    async with connected(database, reactor, statement_timeout_secs=None) as connection:
        assert await setting(connection, "statement_timeout") == "0"
        assert await setting(connection, "idle_in_transaction_session_timeout") == "0"


@pytest_twisted.ensureDeferred
async def test_host_name(database: DbConfig, reactor: Any) -> None:
    """A host name is looked up by us, and libpq is given the address."""
    async with connected(replace(database, host="localhost"), reactor) as connection:
        assert connection.info.dsn_parameters["host"] == "localhost"
        assert connection.info.dsn_parameters["hostaddr"] == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_several_addresses(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses are tried in order, and one that says nothing leaves time for the next."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.2", database.port))
        silent.listen()
        _resolve_to(monkeypatch, ["127.0.0.3", "127.0.0.2", "127.0.0.1"])
        named = replace(database, host="db.test")
        async with connected(named, reactor, timeout_secs=2.0) as connection:
            assert connection.info.dsn_parameters["hostaddr"] == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_no_address_answers(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names host, port and what each address said."""
    _resolve_to(monkeypatch, ["127.0.0.3", "127.0.0.2"])
    with pytest.raises(psycopg2.OperationalError) as caught:
        async with connected(replace(database, host="db.test"), reactor):
            pass
    text = str(caught.value)
    assert f"db.test:{database.port}: 127.0.0.3: Connection refused" in text
    assert "127.0.0.2: Connection refused" in text


def _resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest_twisted.ensureDeferred
async def test_name_server_that_hangs(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a name is looked up the reactor turns, and the time is bounded."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])
    turns: list[None] = []
    timer = reactor.callLater(0.05, turns.append, None)
    try:
        with pytest.raises(
            psycopg2.OperationalError, match=r"db\.test:.*no response within 0\.2 s"
        ):
            async with connected(replace(database, host="db.test"), reactor, timeout_secs=0.2):
                pass
    finally:
        answered.set()
    assert turns
    assert not timer.active()


@pytest_twisted.ensureDeferred
async def test_unknown_name(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that doesn't exist is an OperationalError that names it."""

    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(psycopg2.OperationalError, match=r"db\.test:\d+: the name can't be res"):
        async with connected(replace(database, host="db.test"), reactor):
            pass


@pytest_twisted.ensureDeferred
async def test_wrong_password(database: DbConfig, reactor: Any) -> None:
    """A refused password is an OperationalError that doesn't tell it."""
    with pytest.raises(psycopg2.OperationalError) as caught:
        async with connected(replace(database, password="my secret"), reactor):
            pass
    text = str(caught.value)
    assert f"{database.host}:{database.port}: FATAL: password authentication failed" in text
    assert "secret" not in text


@pytest_twisted.ensureDeferred
async def test_ssl_is_required(database: DbConfig, reactor: Any) -> None:
    """With ``ssl`` a server without it is refused, whatever address was tried."""
    with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
        async with connected(replace(database, ssl=True), reactor):
            pass


@pytest_twisted.ensureDeferred
async def test_socket_path(database: DbConfig, reactor: Any) -> None:
    """A host that begins with a slash is a folder, where a missing socket is an error."""
    with pytest.raises(psycopg2.OperationalError, match=r"/nowhere:\d+: .*No such file"):
        async with connected(replace(database, host="/nowhere"), reactor):
            pass


@pytest_twisted.ensureDeferred
async def test_server_that_never_answers(database: DbConfig, reactor: Any) -> None:
    """An attempt ends when its time is over, or with its caller, and leaves nothing open."""
    before = _content(reactor)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = replace(database, port=silent.getsockname()[1])
        with pytest.raises(psycopg2.OperationalError, match=r"no response within 0\.1 s"):
            async with connected(there, reactor, timeout_secs=0.1):
                pass
        assert _content(reactor) == before
        attempt = begin(
            connect(there, reactor=reactor, statement_timeout_secs=None, timeout_secs=10)
        )
        await deferLater(reactor, 0.02)
        assert _content(reactor) != before
        attempt.cancel()
        with pytest.raises(CancelledError):
            await attempt
        assert _content(reactor) == before
        peers = [silent.accept()[0] for _ in range(2)]
        for peer in peers:
            peer.settimeout(5)
            while peer.recv(1000):
                pass  # to the end: both sockets are closed
            peer.close()


# --- queries --------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_results(database: DbConfig, reactor: Any) -> None:
    """A query gives rows and their number, a statement without rows the number it touched."""
    async with connected(database, reactor) as connection:
        await connection.execute("CREATE TEMP TABLE t (a int)")
        result = await connection.execute("INSERT INTO t VALUES (1), (2)")
        assert (result.rows, result.rowcount) == ([], 2)
        result = await connection.execute("SELECT a FROM t WHERE a > %(low)s", {"low": 1})
        assert result == ([(2,)], 1, ("a",))
        result = await connection.execute("SELECT '100%'")
        assert result.rows == [("100%",)]


@pytest_twisted.ensureDeferred
async def test_composed_query(database: DbConfig, reactor: Any) -> None:
    """A composed query runs again with the value that its literal has by then."""
    values = [1]
    query = SQL("SELECT {} AS {}").format(Literal(values), Identifier("a b"))
    async with connected(database, reactor) as connection:
        assert await connection.execute(query) == ([([1],)], 1, ("a b",))
        values.append(2)
        assert await connection.execute(query) == ([([1, 2],)], 1, ("a b",))


@pytest_twisted.ensureDeferred
async def test_several_statements(database: DbConfig, reactor: Any) -> None:
    """Of several statements the last result counts, and waiting for it doesn't block."""
    turns: list[None] = []
    timer = reactor.callLater(0.05, turns.append, None)
    async with connected(database, reactor) as connection:
        result = await connection.execute("SELECT 1; SELECT pg_sleep(0.2); SELECT 3")
    assert result.rows == [(3,)]
    assert turns
    assert not timer.active()


@pytest_twisted.ensureDeferred
async def test_large_messages(database: DbConfig, reactor: Any) -> None:
    """Queries and results that fill the socket's buffers come through."""
    async with connected(database, reactor) as connection:
        result = await connection.execute("SELECT length(%s)", ("x" * 30_000_000,))
        assert result.rows == [(30_000_000,)]
        result = await connection.execute("SELECT repeat('x', 5000000)")
        assert result.rows == [("x" * 5_000_000,)]
        assert connection not in reactor.getWriters()


@pytest_twisted.ensureDeferred
async def test_errors_leave_the_connection_usable(database: DbConfig, reactor: Any) -> None:
    """Wrong SQL and values that can't be sent are errors of that query only."""
    async with connected(database, reactor) as connection:
        with pytest.raises(psycopg2.errors.UndefinedTable):
            await connection.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg2.ProgrammingError):
            await connection.execute("SELECT %s", (object(),))
        with pytest.raises(ValueError, match="NUL"):
            await connection.execute("SELECT %s", ("\0",))
        assert (await connection.execute("SELECT 1")).rows == [(1,)]
        assert not connection.closed


@pytest_twisted.ensureDeferred
async def test_statement_timeout(database: DbConfig, reactor: Any) -> None:
    """The server ends a statement that takes too long, and the connection goes on."""
    async with connected(database, reactor, statement_timeout_secs=0.05) as connection:
        with pytest.raises(psycopg2.errors.QueryCanceled):
            await connection.execute("SELECT pg_sleep(10)")
        assert (await connection.execute("SELECT 1")).rows == [(1,)]


@pytest_twisted.ensureDeferred
async def test_notices_are_bounded(database: DbConfig, reactor: Any) -> None:
    """However many notices a session raises, few are kept."""
    loop = "DO $$ BEGIN FOR i IN 1..5000 LOOP RAISE NOTICE 'n %', i; END LOOP; END $$"
    async with connected(database, reactor) as connection:
        await connection.execute(loop)
        await connection.execute(loop)
        assert len(connection.notices) <= 50


@pytest_twisted.ensureDeferred
async def test_notifications(database: DbConfig, reactor: Any) -> None:
    """A notification reaches its observer while the connection is idle, and isn't kept."""
    heard: Deferred[Any] = Deferred()
    async with connected(database, reactor) as listener, connected(database, reactor) as other:
        listener.addNotifyObserver(heard.callback)
        await listener.execute("LISTEN news")
        await other.execute("SELECT pg_notify('news', 'hello')")
        assert (await heard).payload == "hello"
        assert listener.notifies == []


@pytest_twisted.ensureDeferred
async def test_methods_of_txpostgres(database: DbConfig, reactor: Any) -> None:
    """runQuery and runInteraction work, and cancelling them doesn't block or raise."""
    async with connected(database, reactor) as connection:
        assert await connection.runQuery("SELECT 1") == [(1,)]
        await connection.runInteraction(lambda cursor: cursor.execute("SELECT 1"))
        running = connection.runQuery("SELECT pg_sleep(0.02)")
        running.cancel()
        with pytest.raises(CancelledError):
            await running
        await connection.reset()
        assert await connection.runQuery("SELECT 2") == [(2,)]


@pytest_twisted.ensureDeferred
async def test_copy_is_refused(database: DbConfig, reactor: Any) -> None:
    """COPY is an error, and the pool drops the connection, which can't leave that state."""
    async with pooled(database, reactor) as pool:
        with pytest.raises(psycopg2.ProgrammingError, match="COPY"):
            await pool.execute("COPY (SELECT 1) TO STDOUT")
        assert await pool.fetch_one("SELECT 1") == (1,)
        await until(lambda: pool.stats().recovering == 0, reactor)
        assert pool.stats().opened_total >= 2


# --- loss -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_loss_while_idle(
    postgres: Postgres, database: DbConfig, reactor: Any, events: list[LogEvent]
) -> None:
    """A connection that the server ends while it is idle is noticed at once, in silence."""
    async with connected(database, reactor) as connection:
        lost: Deferred[Any] = Deferred()
        connection.on_lost = lost.callback
        postgres.query(f"SELECT pg_terminate_backend({backend(connection)})")
        assert isinstance(await lost, psycopg2.OperationalError)
        assert connection.closed
        assert connection not in reactor.getReaders()
        with pytest.raises(psycopg2.InterfaceError):
            await connection.execute("SELECT 1")
    assert lines(events, LogLevel.warn, LogLevel.error, LogLevel.critical) == []


@pytest_twisted.ensureDeferred
async def test_loss_during_a_query(
    postgres: Postgres, database: DbConfig, reactor: Any, events: list[LogEvent]
) -> None:
    """A query whose connection is lost fails with an error that means 503."""
    async with connected(database, reactor) as connection:
        reasons: list[BaseException] = []
        connection.on_lost = reasons.append
        running = connection.execute("SELECT pg_sleep(10)")
        postgres.query(f"SELECT pg_terminate_backend({backend(connection)})")
        with pytest.raises(psycopg2.OperationalError) as caught:
            await running
        assert as_app_error(caught.value).status == 503
        assert reasons == [caught.value]
        assert connection.closed
    assert lines(events, LogLevel.warn, LogLevel.error, LogLevel.critical) == []


@pytest_twisted.ensureDeferred
async def test_close_during_a_query(database: DbConfig, reactor: Any) -> None:
    """Closing a connection fails its query and is no loss; closing twice is fine."""
    async with connected(database, reactor) as connection:
        reasons: list[BaseException] = []
        connection.on_lost = reasons.append
        running = connection.execute("SELECT pg_sleep(10)")
        connection.close()
        with pytest.raises(psycopg2.OperationalError, match="closed"):
            await running
        assert not connection.busy
        assert reasons == []


@pytest_twisted.ensureDeferred
async def test_pool_replaces_a_lost_connection(
    postgres: Postgres, database: DbConfig, reactor: Any, events: list[LogEvent]
) -> None:
    """An idle connection that was lost is replaced, with one warning and one line of relief."""
    async with pooled(database, reactor, pool_min=2) as pool:
        (victim,) = await pool.fetch_one("SELECT pg_backend_pid()")
        postgres.query(f"SELECT pg_terminate_backend({victim})")
        await until(lambda: pool.stats().opened_total == 3, reactor)
        assert (pool.stats().idle, pool.stats().lost_total) == (2, 1)
    assert len(lines(events, LogLevel.warn)) == 1
    assert lines(events, LogLevel.error, LogLevel.critical) == []


# --- cancelling -----------------------------------------------------------------------------


async def _sleep_in_transaction(pool: Pool, seconds: float) -> None:
    async with pool.transaction() as session:
        await session.execute("SELECT pg_sleep(%s)", (seconds,))


@pytest_twisted.ensureDeferred
async def test_cancel_ends_the_query(postgres: Postgres, database: DbConfig, reactor: Any) -> None:
    """A cancelled block ends at once; its query is cancelled and its connection lent again."""
    async with pooled(database, reactor, pool_max=1) as pool:
        (pid,) = await pool.fetch_one("SELECT pg_backend_pid()")
        working = begin(_sleep_in_transaction(pool, 15))
        await until(lambda: pids(postgres, database, "state = 'active'") == {pid}, reactor)
        working.cancel()
        assert working.called
        with pytest.raises(CancelledError):
            await working
        assert (pool.stats().in_use, pool.stats().recovering) == (1, 1)
        assert await pool.fetch_one("SELECT pg_backend_pid()") == (pid,)
        await until(lambda: pids(postgres, database) == {pid}, reactor)  # the second one's is gone
        assert (pool.stats().in_use, pool.stats().idle) == (0, 1)


@pytest_twisted.ensureDeferred
async def test_short_query_needs_no_second_connection(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled query that ends soon is waited for and no connection is opened for it."""
    async with pooled(database, reactor, pool_max=1) as pool:
        monkeypatch.setattr(connection_module, "connect", None)
        working = begin(_sleep_in_transaction(pool, 0.001))
        await until(lambda: pool.stats().in_use == 1, reactor)
        working.cancel()
        with pytest.raises(CancelledError):
            await working
        assert await pool.fetch_one("SELECT 1") == (1,)
        assert pool.stats().opened_total == 1


@pytest_twisted.ensureDeferred
async def test_cancel_never_reaches_the_next_query(
    database: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries that end just when they are cancelled don't get the next one cancelled."""
    monkeypatch.setattr(connection_module, "_CANCEL_GRACE_SECS", 0.0)
    async with pooled(database, reactor, pool_max=1) as pool:
        for attempt in range(30):
            working = begin(_sleep_in_transaction(pool, attempt / 2000))
            await deferLater(reactor, 0.001)
            working.cancel()
            working.addErrback(lambda failure: failure.trap(CancelledError))
            await pool.fetch_one("SELECT pg_sleep(0.003)")
        assert pool.stats().opened_total == 1


@pytest_twisted.ensureDeferred
async def test_cancelled_query_inside_a_block_that_goes_on(
    database: DbConfig, reactor: Any
) -> None:
    """Who cancels one query and goes on in the block is told that he can't."""
    async with pooled(database, reactor) as pool:

        async def cancel_one_query() -> None:
            async with pool.transaction() as session:
                query = begin(session.execute("SELECT pg_sleep(10)"))
                query.cancel()
                with pytest.raises(CancelledError):
                    await query

        with pytest.raises(RuntimeError, match="leave the block"):
            await cancel_one_query()
        assert await pool.fetch_one("SELECT 1") == (1,)


@pytest_twisted.ensureDeferred
async def test_frozen_server(
    private_postgres: PausablePostgres, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that doesn't answer costs its callers no more than their own patience."""
    monkeypatch.setattr(connection_module, "_CANCEL_SECS", 0.2)
    config = private_postgres.config(private_postgres.create_database())
    config = replace(config, acquire_timeout_secs=0.5, connect_timeout_secs=0.5)
    async with pooled(config, reactor, pool_max=1) as pool:
        (old,) = await pool.fetch_one("SELECT pg_backend_pid()")
        working = begin(_sleep_in_transaction(pool, 60))
        await until(lambda: pids(private_postgres, config, "query LIKE '%pg_sleep(60%'"), reactor)
        private_postgres.pause()
        began = reactor.seconds()
        working.cancel()
        with pytest.raises(CancelledError):
            await working
        assert reactor.seconds() - began < 0.1
        assert pool.stats().in_use == 1
        with pytest.raises(ServiceUnavailable, match=r"No database connection within 0\.5 s"):
            await pool.fetch_one("SELECT 1")
        await until(lambda: pool.stats().in_use == 0, reactor)
        await until(lambda: "no response within" in pool.stats().last_error, reactor)
        private_postgres.resume()
        await until(lambda: pool.stats().idle == 1, reactor)
        (new,) = await pool.fetch_one("SELECT pg_backend_pid()")
        assert new != old
        # client_connection_check_interval: nobody waits for that query any more.
        await until(lambda: old not in pids(private_postgres, config), reactor)


# --- transactions ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_commit_and_rollback(database: DbConfig, reactor: Any) -> None:
    """A block that ends well is in the database; one that raises is not."""
    async with pooled(database, reactor) as pool:
        await pool.execute("CREATE TABLE item (name text)")
        async with pool.transaction() as session:
            await session.execute("INSERT INTO item VALUES ('kept')")
        error = LookupError("mine")

        async def insert_and_raise() -> None:
            async with pool.transaction() as session:
                await session.execute("INSERT INTO item VALUES ('dropped')")
                raise error

        with pytest.raises(LookupError) as caught:
            await insert_and_raise()
        assert caught.value is error
        assert await pool.fetch_all("SELECT name FROM item") == [("kept",)]


@pytest_twisted.ensureDeferred
async def test_failing_commit(database: DbConfig, reactor: Any) -> None:
    """A deferred constraint fails the block at its end, and the connection comes back clean."""
    async with pooled(database, reactor, pool_max=1) as pool:
        await pool.execute(
            "CREATE TABLE item (id int CONSTRAINT uq_item UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )
        with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
            async with pool.transaction() as session:
                await session.execute("INSERT INTO item VALUES (1), (1)")
        assert as_app_error(caught.value).code == "CONFLICT"
        assert (pool.stats().idle, pool.stats().recovering) == (1, 0)
        assert await pool.fetch_one("SELECT count(*) FROM item") == (0,)
        assert pool.stats().opened_total == 1


@pytest_twisted.ensureDeferred
async def test_commit_of_who_was_cancelled(
    postgres: Postgres, database: DbConfig, reactor: Any
) -> None:
    """A COMMIT whose caller is cancelled takes place, and what waits for it is told."""
    committed: Deferred[None] = Deferred()

    async def work(pool: Pool) -> None:
        async with pool.transaction() as transaction:
            await transaction.execute("INSERT INTO slow VALUES (1)")
            transaction.on_commit(lambda: committed.callback(None))

    async with pooled(database, reactor, pool_min=1, pool_max=1) as pool:
        await pool.execute(
            "CREATE TABLE slow (id int);"
            "CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';"
            "CREATE CONSTRAINT TRIGGER rests AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION rest()"
        )
        working = Deferred.fromCoroutine(work(pool))
        await until(lambda: active_queries(postgres, database.name) == ["COMMIT"], reactor)
        working.cancel()
        with pytest.raises(CancelledError):
            await working
        assert not committed.called
        await committed.addTimeout(15, reactor)
        assert await pool.fetch_one("SELECT count(*) FROM slow") == (1,)


@pytest_twisted.ensureDeferred
async def test_swallowed_error(database: DbConfig, reactor: Any) -> None:
    """A block that hid a failed query raises at its end, because nothing was committed."""
    async with pooled(database, reactor, pool_max=1) as pool:
        await pool.execute("CREATE TABLE item (id int)")

        async def hide_an_error() -> None:
            async with pool.transaction() as session:
                await session.execute("INSERT INTO item VALUES (1)")
                with pytest.raises(psycopg2.errors.DivisionByZero):
                    await session.execute("SELECT 1 / 0")

        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            await hide_an_error()
        assert await pool.fetch_one("SELECT count(*) FROM item") == (0,)


@pytest_twisted.ensureDeferred
async def test_begin_by_hand(database: DbConfig, reactor: Any) -> None:
    """A transaction that a borrower left open is rolled back before the next one comes."""
    async with pooled(database, reactor, pool_max=1) as pool:
        await pool.execute("CREATE TABLE item (id int)")
        async with pool.acquire() as session:
            await session.execute("BEGIN")
            await session.execute("INSERT INTO item VALUES (1)")
        assert await pool.fetch_one("SELECT count(*) FROM item") == (0,)
        assert pool.stats().opened_total == 1


# --- a server that goes away ----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_restart_under_load(
    private_postgres: PausablePostgres, reactor: Any, events: list[LogEvent]
) -> None:
    """While the server is away callers get 503s; seconds after its return all is well."""
    config = private_postgres.config(private_postgres.create_database())
    config = replace(config, acquire_timeout_secs=0.3)
    served: list[str] = []
    going_on = True

    async def client(pool: Pool) -> None:
        while going_on:
            try:
                await _sleep_in_transaction(pool, 0.002)
                served.append("200")
            except (psycopg2.Error, AppError) as error:
                served.append(f"{as_app_error(error).status}")
                await deferLater(reactor, 0.01)

    async with pooled(config, reactor, pool_min=3, pool_max=5) as pool:
        clients = [begin(client(pool)) for _ in range(12)]
        await until(lambda: served.count("200") > 50, reactor)
        private_postgres.stop()
        await until(lambda: served.count("503") > 50, reactor)
        assert set(served) == {"200", "503"}
        private_postgres.start()
        before, began = served.count("200"), reactor.seconds()
        await until(lambda: served.count("200") > before + 50, reactor)
        assert reactor.seconds() - began < 5
        going_on = False
        await gatherResults(clients)
        await until(lambda: pool.stats().recovering == 0, reactor)
        assert pool.stats().idle == pool.stats().size >= 3
        assert len(pids(private_postgres, config)) == pool.stats().size
    assert len(lines(events, LogLevel.warn)) == 2
    assert lines(events, LogLevel.error, LogLevel.critical) == []


@pytest_twisted.ensureDeferred
async def test_whole_again_without_load(private_postgres: PausablePostgres, reactor: Any) -> None:
    """A pool that nobody uses notices the stop, and has its minimum again after the return."""
    config = private_postgres.config(private_postgres.create_database())
    async with pooled(config, reactor, pool_min=3, pool_max=5) as pool:
        private_postgres.stop("immediate")
        await until(lambda: pool.stats().size == 0 and pool.stats().last_error, reactor)
        private_postgres.start()
        await until(lambda: pool.stats().idle == 3, reactor, seconds=4)


@pytest_twisted.ensureDeferred
async def test_start_without_a_server(database: DbConfig, reactor: Any) -> None:
    """Starting without a server raises psycopg2's error and leaves nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pool = make_pool(replace(database, port=port), reactor=reactor, statement_timeout_secs=1)
    with pytest.raises(psycopg2.OperationalError, match=f":{port}: .*refused"):
        await pool.start()


@pytest_twisted.ensureDeferred
async def test_stop_with_a_query_in_flight(
    postgres: Postgres, database: DbConfig, reactor: Any
) -> None:
    """Stop closes what doesn't come back in time; the query fails and nothing is left."""
    async with pooled(database, reactor) as pool:
        working = begin(_sleep_in_transaction(pool, 10))
        await until(lambda: pids(postgres, database, "query LIKE '%pg_sleep(10%'"), reactor)
        await pool.stop(grace_secs=0.05)
        with pytest.raises(psycopg2.OperationalError):
            await working
        assert pool.stats().size == 0
