"""A database for each test: new, migrated, quick, and gone afterwards."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor

from tests.process.server import wait_until
from x121.app import application
from x121.config import DbConfig
from x121.db.migrations import Migration, MigrationError, status
from x121.db.pool import Pool
from x121.testing import Databases, Postgres, running_pool, running_postgres

reactor: Any = _reactor

TABLE = Migration.parse("0001_table.sql", b"CREATE TABLE item (id int)")


@pytest_twisted.ensureDeferred
async def test_is_migrated(database: DbConfig) -> None:
    """The database has every migration of the project, and its record."""
    migrations = application.read_migrations()
    states = [one.state for one in await status(database, migrations, reactor=reactor)]
    assert states == ["applied"] * len(migrations)


@pytest_twisted.ensureDeferred
async def test_is_new(postgres: Postgres) -> None:
    """What one test commits the next one doesn't see, and neither does the template."""
    databases = Databases(postgres, lambda: [TABLE])
    for _ in range(3):
        async with databases.migrated() as config, running_pool(config) as pool:
            assert await pool.fetch_one("SELECT count(*) FROM item") == (0,)
            await pool.execute("INSERT INTO item VALUES (1)")


@pytest_twisted.ensureDeferred
async def test_migrations_are_read_once(postgres: Postgres) -> None:
    """The migrations are applied to a template, not to each database."""
    reads: list[int] = []
    databases = Databases(postgres, lambda: reads.append(1) or [TABLE])  # type: ignore[func-returns-value]
    for _ in range(3):
        async with databases.migrated():
            pass
    assert len(reads) == 1


@pytest_twisted.ensureDeferred
async def test_several_connections(pool: Pool) -> None:
    """Two transactions are open at once, and neither sees what the other does."""
    await pool.execute("CREATE TABLE item (id int)")
    async with pool.transaction() as one, pool.transaction() as two:
        await one.execute("INSERT INTO item VALUES (1)")
        assert await two.fetch_one("SELECT count(*) FROM item") == (0,)
    assert await pool.fetch_one("SELECT count(*) FROM item") == (1,)


@pytest_twisted.ensureDeferred
async def test_takes_no_time(postgres: Postgres) -> None:
    """A database and its pool, from the making to the end, take less than 50 ms.

    That is, where others leave the machine alone: one try that does is enough.
    """
    databases = Databases(postgres)
    seconds = [math.inf]
    while min(seconds) >= 0.05 and len(seconds) < 200:
        began = reactor.seconds()
        async with databases.migrated() as config, running_pool(config) as pool:
            await pool.fetch_one("SELECT 1")
        seconds.append(reactor.seconds() - began)
    assert min(seconds) < 0.05, seconds


@pytest_twisted.ensureDeferred
async def test_leaves_nothing(postgres: Postgres) -> None:
    """However many tests there are, no more than a few databases are there at any time."""
    databases = Databases(postgres, list)
    before = len(postgres.query("SELECT 1 FROM pg_database"))
    for _ in range(10):
        async with databases.migrated() as config, running_pool(config) as pool:
            await pool.fetch_one("SELECT 1")
    assert len(postgres.query("SELECT 1 FROM pg_database")) - before <= 5


def test_connection_left_open(postgres: Postgres) -> None:
    """A connection that a test forgets keeps its own database, and no later test waits for it."""
    databases = Databases(postgres)
    with databases.empty() as config:
        forgotten = psycopg2.connect(
            host=config.host,
            port=config.port,
            dbname=config.name,
            user=config.user,
            password=config.password,
        )
    with closing(forgotten):
        for _ in range(3):
            with databases.empty() as other:
                assert other.name != config.name
        names = [name for (name,) in postgres.query("SELECT datname FROM pg_database")]
        assert config.name in names


@pytest_twisted.ensureDeferred
async def test_failing_migration(postgres: Postgres) -> None:
    """A migration that fails is told of in every test, as the server would."""
    databases = Databases(postgres, lambda: [Migration.parse("0001_bad.sql", b"CREATE NONSENSE")])
    for _ in range(2):
        with pytest.raises(MigrationError, match=r"0001_bad\.sql, line 1: syntax error"):
            async with databases.migrated():
                pass


def test_empty(empty_database: DbConfig, postgres: Postgres) -> None:
    """An empty database has no table, not even that of the migrations."""
    tables = "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    assert postgres.query(tables, empty_database.name) == []


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where new servers keep their files; one that PostgreSQL may pass."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr("tempfile.tempdir", None)
        yield path
        monkeypatch.undo()


def test_folder(folder: Path) -> None:
    """``TMPDIR`` says where the server keeps its files, and none is left."""
    with running_postgres():
        (made,) = folder.iterdir()
        assert (made / "data" / "PG_VERSION").exists()
    assert list(folder.iterdir()) == []


def test_killed(folder: Path) -> None:
    """When tests are killed their server ends at once, and the next ones remove its files."""
    code = (
        "import os, signal\n"
        "from x121.testing import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server.port, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    wait_until(lambda: not _listens(int(done.stdout)), "the end of the server")
    (left,) = folder.iterdir()
    with running_postgres():
        assert left.exists()  # it might be a new one
    os.utime(left, (0, 0))
    with running_postgres() as first:
        assert not left.exists()
        (used,) = folder.iterdir()
        os.utime(used, (0, 0))
        with running_postgres():
            assert first.query("SELECT 1") == [(1,)]
            assert used.exists()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
