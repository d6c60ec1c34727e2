"""Sessions and transactions: context managers that acquire a connection and release it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

import psycopg2.errors
from twisted.internet.defer import CancelledError, Deferred

from x121.db.connection import Params, Query, Result
from x121.db.pool.commit_hooks import CommitHooks
from x121.db.queryable import Queryable

__all__ = ["Acquire", "PoolableConnection", "PooledConnection", "Session", "Transaction"]

T = TypeVar("T")


class PoolableConnection(Protocol):
    """Interface that the pool needs; :class:`x121.db.connection.Connection` implements it."""

    busy: bool
    session_changed: bool
    on_lost: Callable[[BaseException], None] | None

    @property
    def closed(self) -> bool: ...
    @property
    def is_clean(self) -> bool: ...
    @property
    def in_transaction(self) -> bool: ...
    @property
    def transaction_failed(self) -> bool: ...
    def execute(self, query: Query, params: Params = ()) -> Deferred[Result]: ...
    async def reset(self) -> None: ...
    def lose(self, error: BaseException) -> None: ...
    def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class PooledConnection:
    """Connection of the pool, with its times in seconds of the pool's clock.

    ``committing`` fires when a COMMIT has ended whose caller was cancelled.
    """

    connection: PoolableConnection
    opened_at: float
    expires_at: float
    idle_since: float
    committing: Deferred[Result] | None = None


class ConnectionSource(Protocol):
    """Source of connections: the pool."""

    commits: CommitHooks

    def acquire_idle(self) -> PooledConnection | None: ...
    async def acquire_waiting(self) -> PooledConnection: ...
    def release_connection(self, member: PooledConnection) -> None: ...


class Session(Queryable):
    """Acquired connection, valid inside its ``async with`` block, for one query at a time.

    Raises ``RuntimeError`` if the caller breaks one of these two rules.
    """

    __slots__ = ("_committed", "_connection")

    def __init__(self, connection: PoolableConnection) -> None:
        self._connection: PoolableConnection | None = connection
        self._committed: list[Callable[[], object]] | None = None

    def on_commit(self, call: Callable[[], object]) -> None:
        """Call ``call()`` after COMMIT; never after a rollback.

        Use it for side effects such as publishing an event. ``call`` runs even if the caller was
        cancelled or its client has disconnected, so that an event is published if and only if the
        change happened. Callbacks run in commit order: while an earlier transaction of the pool
        still waits for PostgreSQL to confirm its COMMIT, ``call`` waits too, and the block ends
        before it runs. Exceptions that it raises are logged. Raises :class:`RuntimeError` outside a
        transaction.
        """
        if self._committed is None:
            raise RuntimeError(
                "on_commit() needs a transaction: use 'async with pool.transaction()'"
            )
        self._committed.append(partial(copy_context().run, call))

    def _run(self, query: Query, params: Params) -> Deferred[Result]:
        connection = self._connection
        if connection is None:
            raise RuntimeError("this database session ended with its 'async with' block")
        if connection.busy:
            raise RuntimeError(
                "this database session is still running a query: await each query before the"
                " next, and leave the block after one was cancelled"
            )
        return connection.execute(query, params)

    def _end(self) -> None:
        self._connection = None


class Acquire(AbstractAsyncContextManager[Session]):
    """Async context manager that acquires a connection; may be entered once."""

    __slots__ = ("_entered", "_member", "_session", "_source")
    _member: PooledConnection
    _session: Session

    def __init__(self, source: ConnectionSource) -> None:
        self._source = source
        self._entered = False

    async def __aenter__(self) -> Session:
        if self._entered:
            raise RuntimeError(
                "this acquire() or transaction() was already entered: call it again for each block"
            )
        self._entered = True
        source = self._source
        self._member = source.acquire_idle() or await source.acquire_waiting()
        self._session = Session(self._member.connection)
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._session._end()
        self._source.release_connection(self._member)


class Transaction(Acquire):
    """Acquired connection with BEGIN and COMMIT, or ROLLBACK if the block raises."""

    __slots__ = ()

    async def __aenter__(self) -> Session:
        session = await super().__aenter__()
        session._committed = []
        try:
            await session.execute("BEGIN")
        except BaseException:
            self._end()
            raise
        return session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self._commit()
            elif isinstance(error, Exception) and not isinstance(error, CancelledError):
                await self._roll_back()
            # A cancelled caller must not wait: the pool rolls back.
        finally:
            self._end()

    async def _commit(self) -> None:
        connection = self._member.connection
        if not connection.closed and not connection.busy:
            if connection.transaction_failed:
                # The server would respond to this COMMIT with a ROLLBACK, and no error.
                await self._roll_back()
                raise psycopg2.errors.InFailedSqlTransaction(
                    "the transaction was rolled back: one of its queries had failed"
                )
            if not connection.in_transaction:
                raise RuntimeError("the transaction was ended by a query inside its block")
        committing = self._session._run("COMMIT", ())
        if self._session._committed:
            self._source.commits.sent(committing, self._session._committed)
        try:
            await _shield(committing)
        except CancelledError:
            self._member.committing = committing
            raise

    async def _roll_back(self) -> None:
        connection = self._member.connection
        if connection.closed or connection.busy or not connection.in_transaction:
            return
        try:
            await connection.execute("ROLLBACK")
        except psycopg2.Error:
            # The block's own error says more.  The pool cleans the connection up.
            return


def _shield(running: Deferred[T]) -> Deferred[T]:
    """Return a Deferred that fires with ``running``; cancelling it doesn't cancel ``running``."""
    result: Deferred[T] = Deferred()
    running.addCallbacks(result.callback, result.errback)
    return result
