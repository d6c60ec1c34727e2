"""Migration lock: only one process at a time migrates a database.

It is an advisory lock of a transaction that stays open on a separate connection. A session-level
lock would be left behind by a pooler in transaction mode, where a session doesn't belong to its
client and doesn't end with it. The open transaction is idle and has no snapshot, so a CREATE INDEX
CONCURRENTLY in a migration needn't wait for it.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from x121.db.connection import Connection

__all__ = ["LIFT_LIMITS", "LockTimeoutError", "migration_lock"]

_log = Logger(namespace="x121.db.migrations")

_KEY = 0x78313231  # "x121"; each database has its own advisory locks
_POLL_SECS = 0.1
_LOG_SECS = 30.0

LIFT_LIMITS = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN"
    " ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
)
"""Statement that removes timeouts from the open transaction, whatever its role or a pooler sets."""

# A higher isolation level, which may be a database's default, would hold a snapshot.
_TRY = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_try_advisory_xact_lock({_KEY})"
# The process may be a session's, or that of a pooler's connection that still has the lock.
_HOLDER = (
    "SELECT l.pid, coalesce(host(a.client_addr), 'a UNIX socket') FROM pg_locks l"
    " LEFT JOIN pg_stat_activity a USING (pid)"
    " JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    " WHERE l.locktype = 'advisory' AND (l.classid, l.objid, l.objsubid) = (0, %s, 1)"
    " AND l.granted"
)


class LockTimeoutError(Exception):
    """Raised when another process has held the lock for too long; the text names the process."""


@asynccontextmanager
async def migration_lock(
    connection: Connection, *, clock: Any, timeout_secs: float, on_wait: Callable[[str], object]
) -> AsyncIterator[None]:
    """Hold the lock, on a ``connection`` that is used for nothing else meanwhile.

    ``on_wait`` is called with a line that describes the wait. Raises :class:`LockTimeoutError`
    after ``timeout_secs``.
    """
    await _acquire(connection, clock, timeout_secs, on_wait)
    await connection.execute(LIFT_LIMITS)
    yield
    await connection.execute("ROLLBACK")


async def _acquire(
    connection: Connection, clock: Any, timeout_secs: float, on_wait: Callable[[str], object]
) -> None:
    """Try to acquire the lock until it is free.

    A SELECT that waits in pg_advisory_xact_lock() would hold a snapshot, and the CREATE INDEX
    CONCURRENTLY of the process that has the lock would wait for that snapshot: a deadlock. The
    transaction ends between two attempts, so that a pooler can give its connection to others.
    """
    began = clock.seconds()
    logged_at = None
    while not (await connection.execute(_TRY)).rows[0][0]:
        await connection.execute("ROLLBACK")
        now = clock.seconds()
        if now - began >= timeout_secs:
            raise LockTimeoutError(await _timeout_message(connection, timeout_secs))
        if logged_at is None or now - logged_at >= _LOG_SECS:
            logged_at = now
            line = (
                f"Another process holds the migration lock ({await _describe_holder(connection)})"
            )
            on_wait(line)
            _log.info(
                "{line}; waiting for it, {secs:g} s at most",
                line=line,
                secs=timeout_secs - (now - began),
            )
        await deferLater(clock, _POLL_SECS)


async def _timeout_message(connection: Connection, timeout_secs: float) -> str:
    return (
        f"another process has held the migration lock ({await _describe_holder(connection)}) for"
        f" {timeout_secs:g} s (DB_MIGRATION_WAIT_SECS): wait until its migrations are applied; or,"
        " if it has ended and a pooler keeps its connection, end that with SELECT"
        " pg_terminate_backend of this process; then start again"
    )


async def _describe_holder(connection: Connection) -> str:
    rows = (await connection.execute(_HOLDER, (_KEY,))).rows
    return ", ".join(f"PostgreSQL's process {pid}, from {address}" for pid, address in rows)
