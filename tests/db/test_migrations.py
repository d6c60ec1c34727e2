"""Migrations: which files are read, what is applied, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.postgres import PausablePostgres
from x121.app import application
from x121.application import Application
from x121.config import DbConfig
from x121.db.connection import connect
from x121.db.migrations import (
    Migration,
    MigrationError,
    Status,
    migrate,
    read_migrations,
    status,
)
from x121.testing.postgres import Postgres

ROOT = Path(__file__).parents[2]


def migration(file_name: str, text: str) -> Migration:
    return Migration.parse(file_name, text.encode())


class MigrationFileTests(SynchronousTestCase):
    """What a file's name and bytes mean."""

    def test_name_gives_version_and_name(self) -> None:
        """``0012_add_users2.sql`` is version 12, named ``add_users2``."""
        parsed = migration("0012_add_users2.sql", "SELECT 1")
        assert (parsed.version, parsed.name) == (12, "add_users2")
        assert parsed.file_name == "0012_add_users2.sql"

    def test_wrong_names(self) -> None:
        """A name of another form is refused with the file's name and the right form."""
        for name in (
            "12_x.sql",
            "0001-x.sql",
            "00001_x.sql",
            "1000000000_x.sql",
            "0001_.sql",
            "0001_X.sql",
            "0001_x.SQL",
            "0001_x__y.sql",
            "x.sql",
            "\u0661\u0661\u0661\u0661_x.sql",
        ):
            with pytest.raises(MigrationError) as caught:
                migration(name, "SELECT 1")
            assert name in str(caught.value)
            assert "NNNN_name.sql" in str(caught.value)

    def test_more_than_four_digits(self) -> None:
        """From 10000 on a version has the digits it needs; 999999999 is the last one."""
        for version in (10_000, 999_999_999):
            parsed = migration(f"{version}_x.sql", "SELECT 1")
            assert parsed.version == version
            assert parsed.file_name == f"{version}_x.sql"

    def test_checksum_is_of_the_text(self) -> None:
        """The checksum is the SHA-256 of the text with LF line ends."""
        parsed = migration("0001_x.sql", "SELECT 1;\r\nSELECT 2;\r\n")
        assert parsed.checksum == hashlib.sha256(b"SELECT 1;\nSELECT 2;\n").hexdigest()

    @given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"))))
    def test_line_ends_and_mark_make_no_difference(self, lines: list[str]) -> None:
        """A file with CRLF line ends and a byte order mark is the same migration without them."""
        plain = Migration.parse("0001_x.sql", "\n".join(lines).encode())
        windows = Migration.parse("0001_x.sql", b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
        if not "".join(lines).startswith("\ufeff"):
            assert plain == windows

    def test_no_transaction(self) -> None:
        """The mark asks for no transaction in the first line and nowhere else."""
        mark = "-- x121: no-transaction"
        assert not migration("0001_x.sql", f"{mark}\r\nSELECT 1").transactional
        assert not migration("0001_x.sql", f"{mark} \nSELECT 1").transactional
        assert migration("0001_x.sql", f"\n{mark}\nSELECT 1").transactional
        assert migration("0001_x.sql", f"{mark}s\nSELECT 1").transactional

    def test_not_utf8(self) -> None:
        """Bytes that are no UTF-8 are refused with file and line, NUL characters with the file."""
        with pytest.raises(MigrationError, match=r"0001_x\.sql, line 2"):
            Migration.parse("0001_x.sql", b"SELECT 1;\n-- caf\xe9\n")
        with pytest.raises(MigrationError, match=r"0001_x\.sql: contains a NUL"):
            migration("0001_x.sql", "a\0b")


class ReadMigrationsTests(SynchronousTestCase):
    """What a folder holds."""

    def folder(self, *names: str) -> Path:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        for name in names:
            (folder / name).write_text("SELECT 1;")
        return folder

    def test_order(self) -> None:
        """Migrations come by version; files that are none are ignored."""
        folder = self.folder(
            "0010_c.sql", "0002_b.sql", "0001_a.sql", "__init__.py", "README.md", ".#0001_a.sql"
        )
        names = [found.file_name for found in read_migrations(folder)]
        assert names == ["0001_a.sql", "0002_b.sql", "0010_c.sql"]

    def test_numeric_order(self) -> None:
        """Version 10000 comes after 9999, although its name sorts before."""
        folder = self.folder("9999_b.sql", "10000_c.sql", "1000_a.sql")
        versions = [found.version for found in read_migrations(folder)]
        assert versions == [1000, 9999, 10_000]

    def test_empty(self) -> None:
        """A folder without migrations gives none."""
        assert read_migrations(self.folder("__init__.py")) == []

    def test_everything_wrong_at_once(self) -> None:
        """One error names every wrong name and both files of a version used twice."""
        folder = self.folder("0001_a.sql", "0001_b.sql", "2_c.sql", "0003-d.sql")
        with pytest.raises(MigrationError) as caught:
            read_migrations(folder)
        for name in ("0001_a.sql and 0001_b.sql", "2_c.sql", "0003-d.sql"):
            assert name in str(caught.value)

    def test_of_an_application(self) -> None:
        """The framework's files come first, then the application's."""
        own = [path.name for path in (ROOT / "migrations").glob("*.sql")]
        found = [migration.file_name for migration in application.read_migrations()]
        assert found[0] == "x121/0001_set_updated_at.sql"
        assert found[-len(own) :] == sorted(own)
        framework = [migration.file_name for migration in Application("x").read_migrations()]
        assert found == [*framework, *sorted(own)]


def test_installed_package(tmp_path: Path) -> None:
    """What setuptools puts into a wheel reads the same migrations as the checkout."""
    pytest.importorskip("setuptools")
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    # A copy, because a build leaves files beside setup.py.
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("x121", "migrations", "twisted"):
        shutil.copytree(ROOT / name, source / name)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(installed)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    code = (
        "import x121, x121.app; print(x121.__file__);"
        "found = x121.app.application.read_migrations();"
        "print(*[(f.file_name, f.checksum) for f in found], sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    origin, *found = done.stdout.decode().splitlines()
    assert origin.startswith(str(installed))
    assert found == [str((own.file_name, own.checksum)) for own in application.read_migrations()]


# --- against a database ---------------------------------------------------------------------


@pytest.fixture
def database(empty_database: DbConfig) -> DbConfig:
    """Return a new database with nothing in it."""
    return empty_database


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """Return the log events of the migrations, as they come."""
    seen: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "x121.db.migrations":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


async def refused(
    config: DbConfig, migrations: Sequence[Migration], reactor: Any, *parts: str
) -> None:
    """Check that the migrations are refused with a message that has all ``parts``."""
    with pytest.raises(MigrationError) as caught:
        await migrate(config, migrations, reactor=reactor)
    for part in parts:
        assert part in str(caught.value)


def states(found: list[Status]) -> dict[str, str]:
    return {one.file_name: one.state for one in found}


A = migration("0001_a.sql", "CREATE TABLE a (n int)")
B = migration("0002_b.sql", "INSERT INTO a VALUES (1); INSERT INTO a VALUES (2);")


@pytest_twisted.ensureDeferred
async def test_applies_each_once(
    database: DbConfig, postgres: Postgres, reactor: Any, events: list[LogEvent]
) -> None:
    """Every file is applied in order, recorded, logged with its duration, and not applied again."""
    applied = await migrate(database, [B, A], reactor=reactor)
    assert states(applied) == {"0001_a.sql": "applied", "0002_b.sql": "applied"}
    assert [event["file"] for event in events if "file" in event] == ["0001_a.sql", "0002_b.sql"]
    assert all(event["secs"] >= 0 for event in events)
    assert (events[-1]["applied"], events[-1]["before"]) == (2, 0)
    assert await migrate(database, [A, B], reactor=reactor) == []
    assert postgres.query("SELECT n FROM a ORDER BY n", database.name) == [(1,), (2,)]
    record = "SELECT version, name, checksum FROM x121_migrations ORDER BY version"
    assert postgres.query(record, database.name) == [
        (1, "a", A.checksum),
        (2, "b", B.checksum),
    ]
    recent = (
        "SELECT bool_and(now() - applied_at < '1 min' AND duration BETWEEN '0' AND '1 min')"
        " FROM x121_migrations"
    )
    assert postgres.query(recent, database.name) == [(True,)]


@pytest_twisted.ensureDeferred
async def test_no_migrations(database: DbConfig, reactor: Any) -> None:
    """A program without migrations starts."""
    assert await migrate(database, [], reactor=reactor) == []


@pytest_twisted.ensureDeferred
async def test_own_migrations(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """The program's own files apply, and ``set_updated_at`` keeps ``updated_at`` true."""
    await migrate(database, application.read_migrations(), reactor=reactor)
    postgres.query(
        "CREATE TABLE t (n int, updated_at timestamptz NOT NULL DEFAULT 'epoch');"
        "CREATE TRIGGER set_updated_at BEFORE UPDATE ON t"
        " FOR EACH ROW EXECUTE FUNCTION set_updated_at(); INSERT INTO t VALUES (1)",
        database.name,
    )
    postgres.query("UPDATE t SET n = 2", database.name)
    query = "SELECT now() - updated_at < '1 min' FROM t"
    assert postgres.query(query, database.name) == [(True,)]


DUMPS = Path(__file__).parent / "dumps"


@pytest_twisted.ensureDeferred
async def test_upgrade(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A database of release 0.1.0 goes on: nothing is applied again, and no row is lost."""
    dump = (DUMPS / "0.1.0.sql").read_text("utf-8")
    postgres.query(f'SET ROLE "{database.user}"; {dump}', database.name)
    rows = "SELECT count(*), max(updated_at), sum(length(description)) FROM projects"
    before = postgres.query(rows, database.name)
    migrations = application.read_migrations()
    assert {one.state for one in await status(database, migrations, reactor=reactor)} == {"applied"}
    for _ in range(2):
        assert await migrate(database, migrations, reactor=reactor) == []
    assert postgres.query(rows, database.name) == before == [(19, *before[0][1:])]
    records = postgres.query(
        "SELECT source, version, name FROM x121_migrations ORDER BY 1 DESC, 2", database.name
    )
    assert records == [
        ("x121", 1, "set_updated_at"),
        ("x121", 2, "advance_updated_at"),
        ("application", 3, "create_projects"),
    ]


@pytest_twisted.ensureDeferred
async def test_sources_are_apart(database: DbConfig, reactor: Any) -> None:
    """Both sources may have one version, and the framework's is applied first."""
    own = migration("0001_own.sql", "CREATE TABLE own AS SELECT * FROM base")
    base = Migration.parse("0001_base.sql", b"CREATE TABLE base (n int)", "x121")
    applied = await migrate(database, [own, base], reactor=reactor)
    assert [one.file_name for one in applied] == ["x121/0001_base.sql", "0001_own.sql"]
    assert states(await status(database, [own], reactor=reactor)) == {
        "x121/0001_base.sql": "missing",
        "0001_own.sql": "applied",
    }


@pytest_twisted.ensureDeferred
async def test_updated_at_never_goes_back(
    database: DbConfig, postgres: Postgres, reactor: Any
) -> None:
    """Each change of a row is later than the one before, whenever its transaction began."""
    await migrate(database, application.read_migrations(), reactor=reactor)
    postgres.query("INSERT INTO projects (name) VALUES ('a')", database.name)
    change = "UPDATE projects SET description = %s RETURNING updated_at"
    first, second = [
        await connect(database, reactor=reactor, statement_timeout_secs=9, timeout_secs=9)
        for _ in range(2)
    ]
    await first.execute("BEGIN")
    ((faster,),) = (await second.execute(change, ("second",))).rows
    ((slower,),) = (await first.execute(change, ("first",))).rows
    ((again,),) = (await first.execute(change, ("again",))).rows
    assert faster < slower < again
    first.close()
    second.close()


@pytest_twisted.ensureDeferred
async def test_status(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """The status tells applied, pending, edited and missing files apart, and changes nothing."""
    assert states(await status(database, [A, B], reactor=reactor)) == {
        "0001_a.sql": "pending",
        "0002_b.sql": "pending",
    }
    assert postgres.query("SELECT to_regclass('x121_migrations')", database.name) == [(None,)]
    c = migration("0003_c.sql", "SELECT 1")
    await migrate(database, [A, B, c], reactor=reactor)
    edited = migration("0002_b.sql", "SELECT 2")
    new = migration("0004_d.sql", "SELECT 1")
    found = await status(database, [A, edited, new], reactor=reactor)
    assert states(found) == {
        "0001_a.sql": "applied",
        "0002_b.sql": "edited",
        "0003_c.sql": "missing",
        "0004_d.sql": "pending",
    }
    assert found[0].applied_at is not None
    assert isinstance(found[0].duration, timedelta)
    assert (found[3].applied_at, found[3].duration) == (None, None)


@pytest_twisted.ensureDeferred
async def test_history_that_changed(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """Edited, renamed and missing files are all named, and nothing is applied."""
    c = migration("0003_c.sql", "SELECT 1")
    await migrate(database, [A, B, c], reactor=reactor)
    changed = [
        migration("0001_a.sql", "CREATE TABLE a (n bigint)"),
        migration("0002_renamed.sql", B.sql),
        migration("0004_d.sql", "CREATE TABLE d ()"),
    ]
    await refused(
        database,
        changed,
        reactor,
        "0001_a.sql was edited",
        "0002_b.sql was edited",
        "0003_c.sql was applied",
        "missing",
        "new migration",
    )
    assert postgres.query("SELECT to_regclass('d')", database.name) == [(None,)]


@pytest_twisted.ensureDeferred
async def test_line_ends(database: DbConfig, reactor: Any) -> None:
    """A file whose line ends changed in a checkout is still the one that was applied."""
    await migrate(database, [migration("0001_a.sql", "SELECT 1;\nSELECT 2;\n")], reactor=reactor)
    windows = migration("0001_a.sql", "SELECT 1;\r\nSELECT 2;\r\n")
    assert await migrate(database, [windows], reactor=reactor) == []


@pytest_twisted.ensureDeferred
async def test_late_file(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A new file with a lower version than an applied one is applied."""
    later = migration("0005_later.sql", "CREATE TABLE later ()")
    await migrate(database, [later], reactor=reactor)
    applied = await migrate(database, [A, later], reactor=reactor)
    assert states(applied) == {"0001_a.sql": "applied"}


@pytest_twisted.ensureDeferred
async def test_failing_file(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A failing file is named with the line and PostgreSQL's words, and nothing of it stays."""
    broken = migration("0002_b.sql", "CREATE TABLE b ();\n-- café\nSELECT * FROM nothing;\n")
    await refused(
        database, [A, broken], reactor, "0002_b.sql, line 3", 'relation "nothing" does not exist'
    )
    tables = "SELECT to_regclass('a')::text, to_regclass('b')::text"
    assert postgres.query(tables, database.name) == [("a", None)]
    assert states(await status(database, [A, broken], reactor=reactor)) == {
        "0001_a.sql": "applied",
        "0002_b.sql": "pending",
    }
    await migrate(database, [A, migration("0002_b.sql", "CREATE TABLE b ()")], reactor=reactor)


@pytest.mark.parametrize(
    "text", ["", "\n", ";", "-- a\n/* b /* c */ */ ;;", "-- x121: no-transaction\n"]
)
@pytest_twisted.ensureDeferred
async def test_file_without_statements(database: DbConfig, reactor: Any, text: str) -> None:
    """A file of comments, semicolons or nothing is applied and recorded as any other."""
    empty = migration("0001_a.sql", text)
    assert states(await migrate(database, [empty], reactor=reactor)) == {"0001_a.sql": "applied"}
    assert await migrate(database, [empty], reactor=reactor) == []


@pytest.mark.parametrize(
    "copy",
    ["COPY a FROM stdin;", "copy a (n)\n FROM STDIN;\n1\n\\.\nSELECT 1;", "COPY a TO stdout"],
    ids=["no rows", "rows", "to"],
)
@pytest_twisted.ensureDeferred
async def test_copy(database: DbConfig, reactor: Any, copy: str) -> None:
    """A COPY that needs a client is refused with its line, and what to write instead."""
    file = migration("0002_b.sql", f"SELECT 1;\n\n{copy}")
    await refused(
        database, [A, file], reactor, "0002_b.sql, line 3: COPY", "INSERT INTO", "pg_dump --inserts"
    )


@pytest_twisted.ensureDeferred
async def test_detail_and_hint(database: DbConfig, reactor: Any) -> None:
    """PostgreSQL's detail and hint are part of the message."""
    raising = "DO $$ BEGIN RAISE 'no %', 'way' USING DETAIL = 'this', HINT = 'that'; END $$"
    await refused(database, [migration("0001_a.sql", raising)], reactor, "no way; this; that")


@pytest_twisted.ensureDeferred
async def test_failing_commit(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A file that fails when it is committed is named, and leaves neither work nor record."""
    deferred = (
        "CREATE TABLE p (n int PRIMARY KEY);"
        "CREATE TABLE q (n int REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO q VALUES (1)"
    )
    await refused(database, [migration("0001_a.sql", deferred)], reactor, "0001_a.sql: insert")
    assert postgres.query("SELECT to_regclass('p')", database.name) == [(None,)]
    assert postgres.query("SELECT * FROM x121_migrations", database.name) == []


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE x (); COMMIT",
        "CREATE TABLE x (); COMMIT; BEGIN",
        "CREATE TABLE x (); COMMIT; SELECT * FROM nothing",
        "ROLLBACK",
    ],
)
@pytest_twisted.ensureDeferred
async def test_file_that_ends_its_transaction(database: DbConfig, reactor: Any, text: str) -> None:
    """A COMMIT or ROLLBACK in a file is found, also where another BEGIN follows."""
    await refused(
        database, [migration("0001_a.sql", text)], reactor, "0001_a.sql ends the transaction"
    )
    assert states(await status(database, [A], reactor=reactor)) == {"0001_a.sql": "pending"}


@pytest_twisted.ensureDeferred
async def test_percent(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A ``%`` in a file means to PostgreSQL what it means there."""
    text = "CREATE TABLE a AS SELECT 'x%sy%%z%(n)s' AS n WHERE 'abc' LIKE 'a%' AND 7 % 4 = 3"
    await migrate(database, [migration("0001_a.sql", text)], reactor=reactor)
    assert postgres.query("SELECT n FROM a", database.name) == [("x%sy%%z%(n)s",)]


@pytest_twisted.ensureDeferred
async def test_settings_of_a_file_end_with_it(
    database: DbConfig, postgres: Postgres, reactor: Any
) -> None:
    """What a file sets, such as pg_dump's search path, is gone for its record and the next."""
    dumped = "SELECT set_config('search_path', '', false); CREATE TABLE public.x ()"
    files = [migration("0001_dump.sql", dumped), migration("0002_a.sql", A.sql)]
    await migrate(database, files, reactor=reactor)
    tables = "SELECT to_regclass('public.a')::text"
    assert postgres.query(tables, database.name) == [("a",)]


@pytest_twisted.ensureDeferred
async def test_schema_named_like_the_role(database: DbConfig, reactor: Any) -> None:
    """A schema that comes before ``public`` in the search path does not hide the record."""
    files = [migration("0001_a.sql", f"CREATE SCHEMA {database.user}")]
    await migrate(database, files, reactor=reactor)
    assert await migrate(database, files, reactor=reactor) == []


@pytest_twisted.ensureDeferred
async def test_no_statement_timeout(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A file may take longer than the role's statement_timeout allows."""
    postgres.query(f"ALTER DATABASE {database.name} SET statement_timeout = '50ms'")
    await migrate(database, [migration("0001_a.sql", "SELECT pg_sleep(0.2)")], reactor=reactor)


# --- outside a transaction --------------------------------------------------------------------

ALONE = "-- x121: no-transaction\n"


@pytest_twisted.ensureDeferred
async def test_concurrent_index(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """A file with the mark may create an index concurrently, and is recorded."""
    index = migration("0002_i.sql", ALONE + "CREATE INDEX CONCURRENTLY i ON a (n);")
    await migrate(database, [A, index], reactor=reactor)
    assert await migrate(database, [A, index], reactor=reactor) == []
    assert postgres.query("SELECT to_regclass('i')::text", database.name) == [("i",)]


@pytest_twisted.ensureDeferred
async def test_concurrent_index_without_mark(database: DbConfig, reactor: Any) -> None:
    """Without the mark PostgreSQL refuses it, and its words are passed on."""
    index = migration("0002_i.sql", "CREATE INDEX CONCURRENTLY i ON a (n);")
    await refused(database, [A, index], reactor, "0002_i.sql: CREATE INDEX CONCURRENTLY cannot run")


@pytest_twisted.ensureDeferred
async def test_two_statements_with_mark(database: DbConfig, reactor: Any) -> None:
    """With the mark and more than one statement, the message says that one is allowed."""
    index = migration("0002_i.sql", ALONE + "SELECT 1;\nCREATE INDEX CONCURRENTLY i ON a (n);")
    await refused(database, [A, index], reactor, "0002_i.sql", "one statement")


@pytest_twisted.ensureDeferred
async def test_begin_with_mark(database: DbConfig, reactor: Any) -> None:
    """With the mark, a transaction that a file leaves open is refused."""
    await refused(
        database, [migration("0001_a.sql", ALONE + "BEGIN")], reactor, "0001_a.sql begins"
    )


# --- together ---------------------------------------------------------------------------------

_REPLICA = """
import os, pathlib, sys
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from x121 import config
from x121.db.migrations import migrate, read_migrations

async def main(reactor):
    db = config.load(os.environ, os.devnull).config.db
    applied = await migrate(db, read_migrations(pathlib.Path(sys.argv[1])), reactor=reactor)
    print(len(applied))

react(lambda reactor: ensureDeferred(main(reactor)))
"""


def test_replicas(postgres: Postgres, database: DbConfig, tmp_path: Path) -> None:
    """Four processes that start at once apply each file once, concurrent indexes included."""
    files = {
        "0001_a.sql": "CREATE TABLE a (n int); SELECT pg_sleep(0.3);",
        "0002_b.sql": "INSERT INTO a VALUES (1); SELECT pg_sleep(0.2);",
        "0003_i.sql": ALONE + "CREATE INDEX CONCURRENTLY i ON a (n);",
        "0004_c.sql": "INSERT INTO a VALUES (2);",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DB_HOST": database.host,
        "DB_PORT": str(database.port),
        "DB_NAME": database.name,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password,
    }
    command = [sys.executable, "-c", _REPLICA, str(tmp_path)]
    replicas = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(4)
    ]
    counts = sorted(int(replica.communicate(timeout=30)[0]) for replica in replicas)
    assert counts == [0, 0, 0, 4]
    assert [replica.returncode for replica in replicas] == [0] * 4
    assert postgres.query("SELECT n FROM a ORDER BY n", database.name) == [(1,), (2,)]


@pytest_twisted.ensureDeferred
async def test_waits_for_another(database: DbConfig, reactor: Any, events: list[LogEvent]) -> None:
    """One that finds another at work says so once, holds no snapshot, and goes on after it."""
    slow = migration("0001_a.sql", "CREATE TABLE a (n int); SELECT pg_sleep(0.5)")
    index = migration("0002_i.sql", ALONE + "CREATE INDEX CONCURRENTLY i ON a (n);")
    running = [
        Deferred.fromCoroutine(migrate(database, [slow, index], reactor=reactor)) for _ in range(3)
    ]
    results = await gatherResults(running).addTimeout(15, reactor)
    assert sorted(len(applied) for applied in results) == [0, 0, 2]
    waiting = [event for event in events if "waiting" in event["log_format"]]
    assert len(waiting) == 2


@pytest_twisted.ensureDeferred
async def test_waits_in_vain(
    database: DbConfig, postgres: Postgres, reactor: Any, events: list[LogEvent]
) -> None:
    """A lock that isn't given back ends the wait, with the process that has it and what to do."""
    owner = await connect(database, reactor=reactor, statement_timeout_secs=9, timeout_secs=9)
    await owner.execute("SELECT pg_advisory_lock(2016490033)")  # as a version before did
    ((pid,),) = (await owner.execute("SELECT pg_backend_pid()")).rows
    lines: list[str] = []
    config = dataclasses.replace(database, migration_wait_secs=0.2)
    with pytest.raises(
        MigrationError, match=rf"process {pid}, from 127.0.0.1\) for 0\.2 s \(DB_MIGR"
    ):
        await migrate(config, [A], reactor=reactor, on_progress=lines.append)
    assert f"process {pid}" in lines[-1]
    assert [event["line"] for event in events if "line" in event] == [lines[-1]]
    owner.close()
    assert len(await migrate(database, [A], reactor=reactor, on_progress=lines.append)) == 1
    assert lines[-1] == "Applying 0001_a.sql"


@pytest_twisted.ensureDeferred
async def test_lost_lock(database: DbConfig, reactor: Any) -> None:
    """Once the connection with the lock has ended no further file is begun."""
    ending = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    files = [
        A,
        migration("0002_b.sql", f"{ending}; SELECT pg_sleep(0.1)"),
        migration("0003_c.sql", ""),
    ]
    await refused(database, files, reactor, "0003_c.sql was not applied", "migration lock")
    assert len(await migrate(database, files, reactor=reactor)) == 1


@pytest_twisted.ensureDeferred
async def test_cancelled(database: DbConfig, postgres: Postgres, reactor: Any) -> None:
    """When a migration is cancelled its lock and its work go with its connection."""
    slow = Deferred.fromCoroutine(
        migrate(
            database,
            [migration("0001_a.sql", "CREATE TABLE a (); SELECT pg_sleep(60)")],
            reactor=reactor,
        )
    )
    await deferLater(reactor, 0.2)
    slow.cancel()
    with pytest.raises(CancelledError):
        await slow
    applied = Deferred.fromCoroutine(migrate(database, [A], reactor=reactor))
    assert len(await applied.addTimeout(10, reactor)) == 1


# --- no database ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_database_starts_late(
    private_postgres: PausablePostgres, reactor: Any, events: list[LogEvent]
) -> None:
    """A database that does not answer yet is waited for, with a warning."""
    config = private_postgres.config(private_postgres.create_database())
    private_postgres.stop()
    applied = Deferred.fromCoroutine(migrate(config, [A], reactor=reactor))
    await deferLater(reactor, 0.3)
    private_postgres.start()
    assert len(await applied) == 1
    assert events[0]["log_level"] is LogLevel.warn


@pytest_twisted.ensureDeferred
async def test_no_database(postgres: Postgres, reactor: Any) -> None:
    """One that can't be reached in DB_CONNECT_TIMEOUT_SECS is a MigrationError that says why."""
    config = dataclasses.replace(postgres.config("nowhere"), connect_timeout_secs=0.3)
    began = reactor.seconds()
    await refused(config, [A], reactor, '"nowhere" does not exist')
    assert 0.05 < reactor.seconds() - began < 5
