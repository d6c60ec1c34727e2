"""Migration runner: applies each SQL file once, in order, when the server starts.

:func:`read_migrations` reads the files, :func:`migrate` applies those that a database lacks, and
:func:`status` returns the state of each. The record is the table ``x121_migrations`` in the
database. A migration's source is the framework or the application; each has its own numbers, and
the framework's are applied first.

A file and its record are one transaction. A file whose first line is ``-- x121: no-transaction``
runs outside one, for statements that can't be in a transaction, such as CREATE INDEX CONCURRENTLY.
It must be a single statement, because PostgreSQL runs several that are sent together as one
transaction. A new file may have a lower version than one already applied, as happens when two
branches are merged: it is applied after that one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg2
from psycopg2 import errorcodes, sql
from twisted.internet.task import deferLater
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.connection import Connection, connect
from x121.db.migrations.files import (
    APPLICATION,
    FRAMEWORK,
    NO_TRANSACTION,
    REVERT,
    Migration,
    MigrationError,
    framework_migrations,
    name_file,
    read_migrations,
)
from x121.db.migrations.lock import LIFT_LIMITS, LockTimeoutError, migration_lock
from x121.db.poolers import pooler_advice

__all__ = [
    "Migration",
    "MigrationError",
    "State",
    "Status",
    "find_last",
    "framework_migrations",
    "migrate",
    "read_migrations",
    "revert",
    "status",
]

_Key = tuple[str, int]
State = Literal["applied", "pending", "edited", "missing"]

_log = Logger(namespace="x121.db.migrations")

_TABLE = "x121_migrations"
_RETRY_SECS = 0.25
_EMPTY_QUERY = "can't execute an empty query"
_COPY = re.compile(r"\bCOPY\b[^;]*?\b(?:FROM\s+STDIN|TO\s+STDOUT)\b", re.IGNORECASE)
_COPY_ADVICE = (
    "COPY ... FROM stdin (or TO stdout) exchanges rows with a client, and a migration has none:"
    " write INSERT INTO ... VALUES (...) instead, as pg_dump --inserts does"
)


@dataclass(frozen=True)
class Status:
    """State of one file in a database.  ``key`` is its source and its version.

    ``applied_at`` and ``duration`` are None if it is pending.

    ``edited``: it was applied with another text or name. ``missing``: it was applied, and the file
    no longer exists.
    """

    key: tuple[str, int]
    file_name: str
    state: State
    applied_at: datetime | None = None
    duration: timedelta | None = None


async def status(
    config: DbConfig, migrations: Sequence[Migration], *, reactor: Any
) -> list[Status]:
    """Return the state of every file and every record, by version.  Changes nothing.

    Raises :class:`MigrationError` if the database can't be read.
    """
    async with _connected(config, reactor) as connection:
        schema = await _find_table(connection)
        records = {} if schema is None else await _read_records(connection, _table(schema))
        return _compare(migrations, records)


async def migrate(
    config: DbConfig,
    migrations: Sequence[Migration],
    *,
    reactor: Any,
    on_progress: Callable[[str], object] = lambda line: None,
) -> list[Status]:
    """Apply every pending file, in order; return those that this call applied.

    Processes that start together take turns; this one waits up to ``migration_wait_secs`` for
    another. ``on_progress`` is called with a line that describes the current step. Raises
    :class:`MigrationError` before anything is applied if an applied file was edited or is missing.
    Raises it, too, when a file fails; the files before it stay applied.
    """
    began = reactor.seconds()
    on_progress("Connecting to the database")
    async with (
        _connected(config, reactor) as holder,
        migration_lock(
            holder, clock=reactor, timeout_secs=config.migration_wait_secs, on_wait=on_progress
        ),
        _connected(config, reactor) as connection,
    ):
        schema = await _find_table(connection)
        table = _table(await _create_table(connection) if schema is None else schema)
        if not await _has_source(connection):
            await _add_source(connection, table)
        states = _compare(migrations, await _read_records(connection, table))
        if problems := [_advice(state) for state in states if state.state in _ADVICE]:
            raise MigrationError("\n".join(problems))
        pending = {state.key for state in states if state.state == "pending"}
        applied = []
        for migration in sorted(migrations, key=lambda migration: _order(migration.key)):
            if migration.key in pending:
                on_progress(f"Applying {migration.file_name}")
                _check_lock(holder, migration)
                applied.append(await _apply(connection, table, migration, reactor))
    _log.info(
        "Migrations: {applied} applied now, {before} before, in {secs:.2f} s",
        applied=len(applied),
        before=len(states) - len(applied),
        secs=reactor.seconds() - began,
    )
    return applied


def find_last(migrations: Sequence[Migration], states: Sequence[Status]) -> Migration:
    """Return the application's last applied migration, which can be reverted.

    Raises :class:`MigrationError` if there is none, or if its file has no statements that revert
    it.
    """
    applied = [state for state in states if state.applied_at and state.key[0] == APPLICATION]
    if not applied:
        raise MigrationError("no migration of the application has been applied")
    last = max(applied, key=lambda state: (state.applied_at, state.key))
    found = next((migration for migration in migrations if migration.key == last.key), None)
    if found is None:
        raise MigrationError(_advice(last))
    if not found.revert:
        raise MigrationError(
            f"{found.file_name} doesn't say how to revert it: end it with the line {REVERT!r}, and"
            " below that the statements as comments, such as '-- DROP TABLE notes;'"
        )
    return found


async def revert(config: DbConfig, migration: Migration, *, reactor: Any) -> None:
    """Run the statements in its file that revert ``migration``, so that it is pending again.

    For development databases: the data that the statements delete is lost. Raises
    :class:`MigrationError` if a statement fails; the database is then unchanged.
    """
    async with (
        _connected(config, reactor) as holder,
        migration_lock(
            holder,
            clock=reactor,
            timeout_secs=config.migration_wait_secs,
            on_wait=lambda line: None,
        ),
        _connected(config, reactor) as connection,
    ):
        schema = await _find_table(connection)
        assert schema is not None
        forget = sql.SQL("DELETE FROM {} WHERE (source, version) = (%s, %s)").format(_table(schema))
        try:
            await connection.execute("BEGIN")
            await connection.execute(migration.revert)
            await connection.execute(forget, migration.key)
            await connection.execute("COMMIT")
        except psycopg2.Error as error:
            text = str(error).strip()
            raise MigrationError(f"{migration.file_name}, below {REVERT!r}: {text}") from error
    _log.info("{file} reverted", file=migration.file_name)


# --- the database ---------------------------------------------------------------------------


@asynccontextmanager
async def _connected(config: DbConfig, reactor: Any) -> AsyncIterator[Connection]:
    """Yield a connection; translate database errors into MigrationError."""
    try:
        connection = await _connect(config, reactor)
        try:
            yield connection
        finally:
            connection.close()
    except LockTimeoutError as error:
        raise MigrationError(str(error)) from None
    except psycopg2.Error as error:
        advice = pooler_advice(error)
        raise MigrationError(
            "; ".join(filter(None, (f"migrations: {str(error).strip()}", advice)))
        ) from error


async def _connect(config: DbConfig, reactor: Any) -> Connection:
    """Connect; retry for ``connect_timeout_secs``, because the database may be starting too."""
    deadline = reactor.seconds() + config.connect_timeout_secs
    warned = False
    while True:
        try:
            return await connect(
                config,
                reactor=reactor,
                statement_timeout_secs=None,  # filling a new column may take long
                timeout_secs=max(_RETRY_SECS, deadline - reactor.seconds()),
            )
        except psycopg2.OperationalError as error:
            # A connection that a pooler's settings refuse would be refused again.
            if reactor.seconds() + _RETRY_SECS > deadline or pooler_advice(error):
                raise
            if not warned:
                warned = True
                _log.warn(
                    "The database is not reachable; retrying for {secs:g} s: {error}",
                    secs=config.connect_timeout_secs,
                    error=str(error).strip(),
                )
        await deferLater(reactor, _RETRY_SECS)


def _check_lock(holder: Connection, migration: Migration) -> None:
    """Raise an error if the lock was lost: another process might apply the same file.

    Two processes that apply the same file can't both record it: one of them fails and rolls back.
    """
    if holder.closed:
        raise MigrationError(
            f"{migration.file_name} was not applied: the connection with the migration lock ended;"
            " start again"
        )


async def _find_table(connection: Connection) -> str | None:
    """Return the schema of the record's table; None if there is no table yet.

    A migration may create a schema that comes first in the search path. So the table is looked up
    before it is created, and its full name is used from then on.
    """
    found = await connection.execute(
        "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE c.oid = to_regclass(%s)",
        (_TABLE,),
    )
    return found.rows[0][0] if found.rows else None


async def _create_table(connection: Connection) -> str:
    await connection.execute(
        f"CREATE TABLE {_TABLE} ("
        " source text,"
        " version integer,"
        " name text NOT NULL,"
        " checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
        " duration interval NOT NULL,"
        " PRIMARY KEY (source, version))"
    )
    schema = await _find_table(connection)
    assert schema is not None
    return schema


def _table(schema: str) -> sql.Identifier:
    return sql.Identifier(schema, _TABLE)


# Records of releases before 0.2 have no source.
_OLD_SOURCE = sql.SQL(
    "CASE WHEN (version, name) IN ((1, 'set_updated_at'), (2, 'advance_updated_at'))"
    " THEN {} ELSE {} END"
).format(sql.Literal(FRAMEWORK), sql.Literal(APPLICATION))


async def _has_source(connection: Connection) -> bool:
    found = await connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'source'",
        (_TABLE,),
    )
    return bool(found.rows)


async def _add_source(connection: Connection, table: sql.Identifier) -> None:
    """Add the source to the records of an older release, in one transaction."""
    statements = sql.SQL(
        "BEGIN;"
        " ALTER TABLE {table} ADD COLUMN source text;"
        " UPDATE {table} SET source = {source};"
        " ALTER TABLE {table} DROP CONSTRAINT x121_migrations_pkey,"
        " ADD PRIMARY KEY (source, version);"
        " COMMIT"
    )
    await connection.execute(statements.format(table=table, source=_OLD_SOURCE))


async def _read_records(connection: Connection, table: sql.Identifier) -> dict[_Key, _Record]:
    source = sql.Identifier("source") if await _has_source(connection) else _OLD_SOURCE
    query = sql.SQL("SELECT {}, version, name, checksum, applied_at, duration FROM {}")
    found = await connection.execute(query.format(source, table))
    return {(row[0], row[1]): _Record(*row) for row in found.rows}


@dataclass(frozen=True)
class _Record:
    source: str
    version: int
    name: str
    checksum: str
    applied_at: datetime
    duration: timedelta


# --- comparing ------------------------------------------------------------------------------

_ADVICE = {
    "edited": (
        "{file_name} was edited after it was applied ({applied_at:%Y-%m-%d %H:%M} UTC): restore its"
        " text and name, and put the change in a new migration (in development, x121 migrate --redo"
        " reverts the last one and applies it again)"
    ),
    "missing": (
        "{file_name} was applied ({applied_at:%Y-%m-%d %H:%M} UTC) and is missing now: restore it,"
        " or start the version of this program that has it"
    ),
}


def _advice(state: Status) -> str:
    return _ADVICE[state.state].format(file_name=state.file_name, applied_at=state.applied_at)


def _compare(migrations: Iterable[Migration], records: dict[_Key, _Record]) -> list[Status]:
    files = {migration.key: migration for migration in migrations}
    states = []
    for key in sorted(files.keys() | records.keys(), key=_order):
        file, record = files.get(key), records.get(key)
        if record is None:
            states.append(Status(key, files[key].file_name, "pending"))
            continue
        state: State = "applied"
        if file is None:
            state = "missing"
        elif (file.name, file.checksum) != (record.name, record.checksum):
            state = "edited"
        name = name_file(*key, record.name)
        states.append(Status(key, name, state, record.applied_at, record.duration))
    return states


def _order(key: _Key) -> tuple[bool, str, int]:
    """Return the sort key: the framework's migrations first, then by version."""
    source, version = key
    return source != FRAMEWORK, source, version


# --- applying -------------------------------------------------------------------------------


async def _apply(
    connection: Connection, table: sql.Identifier, migration: Migration, reactor: Any
) -> Status:
    began = reactor.seconds()
    try:
        if migration.transactional:
            await connection.execute(f"BEGIN; {LIFT_LIMITS}")
            await _run_in_transaction(connection, migration)
        else:
            await _run_alone(connection, migration)
        # A file, especially one made by pg_dump, may leave a search path or a role behind.
        await connection.execute("RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE")
        duration = timedelta(seconds=reactor.seconds() - began)
        applied_at = await _record(connection, table, migration, duration)
        if migration.transactional:
            await connection.execute("COMMIT")
    except psycopg2.Error as error:
        raise MigrationError(_failure(migration, error)) from error
    _log.info(
        "{file} applied in {secs:.3f} s", file=migration.file_name, secs=duration.total_seconds()
    )
    return Status(migration.key, migration.file_name, "applied", applied_at, duration)


async def _run_in_transaction(connection: Connection, migration: Migration) -> None:
    """Run the file, and check that it has not ended its transaction."""
    number = "SELECT txid_current()"
    before = (await connection.execute(number)).rows
    try:
        await _run(connection, migration)
    except psycopg2.Error as error:
        if connection.closed or connection.in_transaction:
            raise
        raise MigrationError(f"{_failure(migration, error)}\n{_ended(migration)}") from error
    if not connection.in_transaction or (await connection.execute(number)).rows != before:
        raise MigrationError(_ended(migration))


def _ended(migration: Migration) -> str:
    return (
        f"{migration.file_name} ends the transaction it runs in (COMMIT or ROLLBACK): a part of it"
        " may have been applied and is not recorded. Remove that statement from the file, undo"
        " that part by hand, and start again"
    )


async def _run_alone(connection: Connection, migration: Migration) -> None:
    try:
        await _run(connection, migration)
    except psycopg2.Error as error:
        raise MigrationError(
            f"{_failure(migration, error)}\n"
            "It runs outside a transaction, so it must be one statement, because PostgreSQL runs"
            " several as one transaction. Its changes may be there in part, such as an index"
            " that is INVALID: drop that before you start again"
        ) from error
    if connection.in_transaction:
        raise MigrationError(
            f"{migration.file_name} begins a transaction and does not end it: remove the BEGIN, or"
            " the line that asks for no transaction"
        )


async def _run(connection: Connection, migration: Migration) -> None:
    """Run the file's statements; a file with only comments is applied like any other."""
    try:
        await connection.execute(migration.sql)
    except psycopg2.ProgrammingError as error:
        # PostgreSQL accepts an empty query, but psycopg2 raises an error.
        if str(error) != _EMPTY_QUERY:
            raise


async def _record(
    connection: Connection, table: sql.Identifier, migration: Migration, duration: timedelta
) -> datetime:
    insert = sql.SQL(
        "INSERT INTO {} (source, version, name, checksum, duration) VALUES (%s, %s, %s, %s, %s)"
        " RETURNING applied_at"
    ).format(table)
    values = (*migration.key, migration.name, migration.checksum, duration)
    applied_at: datetime = (await connection.execute(insert, values)).rows[0][0]
    return applied_at


def _failure(migration: Migration, error: psycopg2.Error) -> str:
    """Return PostgreSQL's error for the file, with the line."""
    if copy := _find_copy(migration, error):
        return f"{_place(migration, copy.start())}: {_COPY_ADVICE}"
    position = error.diag.statement_position  # in characters, from 1
    place = _place(migration, int(position) - 1) if position else migration.file_name
    said = [error.diag.message_primary or str(error).strip()]
    said += [text for text in (error.diag.message_detail, error.diag.message_hint) if text]
    if error.pgcode == errorcodes.ACTIVE_SQL_TRANSACTION:
        said.append(f"begin the file with {NO_TRANSACTION!r}, and put nothing else in it")
    return f"{place}: {'; '.join(said)}"


def _find_copy(migration: Migration, error: psycopg2.Error) -> re.Match[str] | None:
    """Return the COPY that made the file fail.

    psycopg2 refuses it without an error code. If rows follow it in the file, PostgreSQL has already
    reported a syntax error at the first of them.
    """
    if error.pgcode is None and "COPY" in str(error):
        return _COPY.search(migration.sql)
    if error.pgcode == errorcodes.SYNTAX_ERROR and error.diag.statement_position:
        return _COPY.search(migration.sql, 0, int(error.diag.statement_position) - 1)
    return None


def _place(migration: Migration, index: int) -> str:
    return f"{migration.file_name}, line {migration.sql.count(chr(10), 0, index) + 1}"
