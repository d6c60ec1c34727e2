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
from x121.db.pool.commit_hooks import Commits
from x121.db.queryable import Queryable

__all__ = ["Lease", "Member", "PooledConnection", "Session", "Transaction"]

T = TypeVar("T")


class PooledConnection(Protocol):
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
class Member:
    """A connection of the pool, with its times in seconds of the pool's clock.

    ``committing`` fires when a COMMIT has ended that its borrower doesn't wait for any more.
    """

    connection: PooledConnection
    opened_at: float
    expires_at: float
    idle_since: float
    committing: Deferred[Result] | None = None


class Lender(Protocol):
    """Where connections come from: the pool."""

    commits: Commits

    async def take(self) -> Member: ...
    def give_back(self, member: Member) -> None: ...


class Session(Queryable):
    """A borrowed connection, good inside its ``async with`` block and for one query at a time.

    ``RuntimeError`` means that the caller broke one of the two rules.
    """

    __slots__ = ("_committed", "_connection")

    def __init__(self, connection: PooledConnection) -> None:
        self._connection: PooledConnection | None = connection
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


class Lease(AbstractAsyncContextManager[Session]):
    """``async with`` this to borrow a connection; once."""

    __slots__ = ("_entered", "_lender", "_member", "_session")
    _member: Member
    _session: Session

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._entered = False

    async def __aenter__(self) -> Session:
        if self._entered:
            raise RuntimeError("acquire() and transaction() serve one 'async with' block each")
        self._entered = True
        self._member = await self._lender.take()
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
        self._lender.give_back(self._member)


class Transaction(Lease):
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
            self._lender.commits.sent(committing, self._session._committed)
        try:
            await _unhurried(committing)
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


def _unhurried(running: Deferred[T]) -> Deferred[T]:
    """Return what fires with ``running``, which goes on when that is cancelled."""
    result: Deferred[T] = Deferred()
    running.addCallbacks(result.callback, result.errback)
    return result
