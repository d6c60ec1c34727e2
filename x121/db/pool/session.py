"""What a borrower of a connection holds, and the blocks in which he holds it."""

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
    """What the pool asks of a connection; :class:`x121.db.connection.Connection` is one."""

    busy: bool
    session_changed: bool
    on_lost: Callable[[BaseException], None] | None

    @property
    def closed(self) -> bool: ...
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
    """A connection of the pool, with its times in seconds of the pool's clock.

    ``committing`` fires when a COMMIT has ended that its borrower doesn't wait for any more.
    """

    connection: PoolableConnection
    opened_at: float
    expires_at: float
    idle_since: float
    committing: Deferred[Result] | None = None


class ConnectionSource(Protocol):
    """Where connections come from: the pool."""

    commits: CommitHooks

    async def acquire_connection(self) -> PooledConnection: ...
    def release_connection(self, member: PooledConnection) -> None: ...


class Session(Queryable):
    """A borrowed connection, good inside its ``async with`` block and for one query at a time.

    ``RuntimeError`` means that the caller broke one of the two rules.
    """

    __slots__ = ("_committed", "_connection")

    def __init__(self, connection: PoolableConnection) -> None:
        self._connection: PoolableConnection | None = connection
        self._committed: list[Callable[[], object]] | None = None

    def on_commit(self, call: Callable[[], object]) -> None:
        """Call ``call()`` once the transaction is committed, and never if it isn't.

        Also if whoever began it is cancelled meanwhile: only so does everybody hear of what has
        happened, and nobody of what hasn't.  And in the order in which it happened: while another
        transaction of the pool that was committed before still waits for PostgreSQL to say so,
        ``call`` waits, too, and the block ends before.  What it raises is logged.  Raises
        :class:`RuntimeError` where there is no transaction.
        """
        if self._committed is None:
            raise RuntimeError("on_commit() is for 'async with pool.transaction()'")
        self._committed.append(partial(copy_context().run, call))

    def _run(self, query: Query, params: Params) -> Deferred[Result]:
        connection = self._connection
        if connection is None:
            raise RuntimeError("this database session ended with its 'async with' block")
        if connection.busy:
            raise RuntimeError(
                "this database session still runs a query: await one before the next, and"
                " leave the block when one was cancelled"
            )
        return connection.execute(query, params)

    def _end(self) -> None:
        self._connection = None


class Acquire(AbstractAsyncContextManager[Session]):
    """``async with`` this to borrow a connection; once."""

    __slots__ = ("_entered", "_member", "_session", "_source")
    _member: PooledConnection
    _session: Session

    def __init__(self, source: ConnectionSource) -> None:
        self._source = source
        self._entered = False

    async def __aenter__(self) -> Session:
        if self._entered:
            raise RuntimeError("acquire() and transaction() serve one 'async with' block each")
        self._entered = True
        self._member = await self._source.acquire_connection()
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
    """A lease around BEGIN and COMMIT, or ROLLBACK when the block raises."""

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
            # Who was cancelled must not wait: the pool rolls back.
        finally:
            self._end()

    async def _commit(self) -> None:
        connection = self._member.connection
        if not connection.closed and not connection.busy:
            if connection.transaction_failed:
                # The server would answer this COMMIT with a ROLLBACK, and no error.
                await self._roll_back()
                raise psycopg2.errors.InFailedSqlTransaction(
                    "nothing was committed: a query of the transaction had failed"
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
            # The error that brought us here says more.  The pool finds the connection unclean.
            return


def _shield(running: Deferred[T]) -> Deferred[T]:
    """Return what fires with ``running``, which goes on when that is cancelled."""
    result: Deferred[T] = Deferred()
    running.addCallbacks(result.callback, result.errback)
    return result
