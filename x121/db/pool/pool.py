"""The pool of connections to PostgreSQL: who may use one, for how long, and what is left behind.

:func:`make_pool` builds a :class:`Pool`.  Features use :meth:`Pool.transaction`, or
:meth:`Pool.fetch_all` and its like for a single statement::

    async with pool.transaction() as session:
        await session.execute("INSERT INTO item (name) VALUES (%s)", (name,))

The next borrower of a connection finds nothing that the one before has left in its session.
After a statement that may leave something (SET, a temporary table, LISTEN, a session-level advisory
lock) ``DISCARD ALL`` runs before the connection is lent again; others pay nothing for it.  A
function or trigger that changes the session isn't seen.  There use ``SET LOCAL``,
``set_config(..., true)`` and ``pg_advisory_xact_lock()``: they end with the transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from random import Random, SystemRandom
from typing import Any, TypeVar

import psycopg2
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.connection import Params, Query, Reactor, Result, connect
from x121.db.pool.commit_hooks import CommitHooks
from x121.db.pool.connection_set import ConnectionSet, begin
from x121.db.pool.retry import retry
from x121.db.pool.session import Acquire, PoolableConnection, PooledConnection, Session, Transaction
from x121.db.pool.waiters import Waiters
from x121.db.queryable import Queryable
from x121.errors import ServiceUnavailable

__all__ = ["Pool", "PoolStats", "Session", "make_pool"]

T = TypeVar("T")

_log = Logger(namespace="x121.db.pool")

_MAX_WAITING = 1_000
_MAX_CONNECT_SECS = 5.0
_STOP_GRACE_SECS = 1.0
# How long a COMMIT may still take when whoever asked for it is gone.
_COMMIT_SECS = 2.0


@dataclass(frozen=True)
class PoolStats:
    """The pool at one moment.  ``*_total`` count from the start; ``size`` is idle and in use.

    ``recovering`` connections are among those in use: their borrowers have left something that
    is being cleaned up.
    """

    size: int
    idle: int
    in_use: int
    recovering: int
    connecting: int
    waiting: int
    min_size: int
    max_size: int
    acquired_total: int
    waited_total: int
    waited_secs_total: float
    timeouts_total: int
    refused_total: int
    opened_total: int
    lost_total: int
    last_error: str


class Pool(Queryable):
    """Between ``min_size`` and ``max_size`` connections, lent to one borrower at a time.

    ``connect`` makes a connection, and bounds its own time.  All seconds are those of ``clock``.
    A connection is replaced when it is lost, and after ``max_lifetime_secs`` or up to a tenth
    less.  Up to ``max_waiting`` may wait, ``acquire_timeout_secs`` each.
    Its queries run on any connection.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PoolableConnection]],
        *,
        clock: IReactorTime,
        min_size: int,
        max_size: int,
        acquire_timeout_secs: float,
        max_lifetime_secs: float = 1800.0,
        max_waiting: int = _MAX_WAITING,
        rng: Random | None = None,
    ) -> None:
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError(f"a pool of {min_size} to {max_size} connections is none")
        self.commits = CommitHooks()
        self._clock = clock
        self._rng = rng or SystemRandom()
        self._min_size = min_size
        self._max_size = max_size
        self._running = False
        self._started = False
        self._serving = False
        self._acquired_total = 0
        self._recoveries: set[Deferred[Any]] = set()
        self._all_returned: list[Deferred[None]] = []
        self._members = ConnectionSet(
            connect,
            clock=clock,
            min_size=min_size,
            max_size=max_size,
            max_lifetime_secs=max_lifetime_secs,
            rng=self._rng,
            waiting=lambda: len(self._waiters),
            available=self._serve,
        )
        self._waiters = Waiters(
            clock=clock,
            seconds=acquire_timeout_secs,
            limit=max_waiting,
            why=self._describe,
            joined=self._members.ensure_min,
            returned=self.release_connection,
        )

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open ``min_size`` connections.

        Raises the :class:`psycopg2.Error` of the first that fails, and leaves nothing behind:
        start may then be tried again.
        """
        if self._started:
            raise RuntimeError("a pool is started once")
        self._started = True
        try:
            await self._members.open_first()
        except BaseException:
            self._started = False
            raise
        self._running = True

    async def stop(self, *, grace_secs: float = _STOP_GRACE_SECS) -> None:
        """Close every connection: idle ones now, borrowed ones when they come back.

        Those that don't within ``grace_secs`` are closed under their borrowers, whose queries
        fail with :class:`psycopg2.OperationalError`.  Who waits fails at once.
        """
        self._running = False
        self._waiters.fail(ServiceUnavailable("The server is shutting down"))
        self._members.close_idle()
        try:
            await self._until_all_returned(grace_secs)
        finally:
            for recovery in tuple(self._recoveries):
                recovery.cancel()
            for member in tuple(self._members.in_use):
                self._members.discard(member)

    async def _until_all_returned(self, grace_secs: float) -> None:
        if not self._members.in_use or grace_secs <= 0:
            return
        returned: Deferred[None] = Deferred()
        self._all_returned.append(returned)
        try:
            await returned.addTimeout(grace_secs, self._clock)
        except defer.TimeoutError:
            _log.warn(
                "{count} database connections are still in use, and are closed now",
                count=len(self._members.in_use),
            )
        finally:
            self._all_returned.remove(returned)

    def stats(self) -> PoolStats:
        """Return what the pool does now and has done."""
        members, waiters = self._members, self._waiters
        return PoolStats(
            size=members.size,
            idle=len(members.idle),
            in_use=len(members.in_use),
            recovering=len(self._recoveries),
            connecting=len(members.openings),
            waiting=len(waiters),
            min_size=self._min_size,
            max_size=self._max_size,
            acquired_total=self._acquired_total,
            waited_total=waiters.waited_total,
            waited_secs_total=waiters.waited_secs_total,
            timeouts_total=waiters.timeouts_total,
            refused_total=waiters.refused_total,
            opened_total=members.opened_total,
            lost_total=members.lost_total,
            last_error=members.outage.last_error,
        )

    def _describe(self) -> str:
        now = self.stats()
        text = (
            f"{now.in_use} of at most {now.max_size} in use ({now.recovering} recovering),"
            f" {now.connecting} connecting, {now.waiting} waiting"
        )
        if now.last_error:
            text += f"; the last attempt to connect failed: {now.last_error}"
        return text

    # --- for features -----------------------------------------------------------------------

    def acquire(self) -> AbstractAsyncContextManager[Session]:
        """Return a block with a connection, where each statement is its own transaction.

        Entering it raises :class:`x121.errors.ServiceUnavailable` when there is none in time.
        A transaction that is open at the end is rolled back.
        """
        return Acquire(self)

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """Return a block that is one transaction: committed at its end, else rolled back.

        Entering raises as :meth:`acquire` does.  The end raises the :class:`psycopg2.Error` of
        a COMMIT that fails; what the block raises passes through.  When the block is cancelled
        its caller goes on at once and the pool ends the query and rolls back, or lets a COMMIT
        that has begun end.  Whether that one happened its caller isn't told, nor is anybody where
        it loses its connection: what has to be done then is for :meth:`Session.on_commit`.
        """
        return Transaction(self)

    async def retry(self, work: Callable[[Session], Awaitable[T]], *, attempts: int = 3) -> T:
        """Return the result of ``work(session)``, which is run in a transaction.

        After a serialization failure, a deadlock or a lock that isn't free it is rolled back and
        run again, in a new transaction and after a short random delay: ``attempts`` times at
        most, then the error is raised.  Any other error is raised at once.  So ``work`` has no
        effects but queries and :meth:`Session.on_commit`, whose calls count only in the attempt
        that is committed.
        """
        if attempts < 1:
            raise ValueError(f"invalid attempts: {attempts} (expected 1 or more)")
        return await retry(
            work,
            transaction=self.transaction,
            attempts=attempts,
            clock=self._clock,
            rng=self._rng,
        )

    async def _run(self, query: Query, params: Params) -> Result:
        async with self.acquire() as session:
            return await session._run(query, params)

    async def is_writable(self) -> bool:
        """Whether the database takes writes, which a standby doesn't.

        A connection to one that doesn't is replaced, because a new one may lead to the primary.
        Raises as :meth:`fetch_one` does.
        """
        member = await self.acquire_connection()
        try:
            found = await member.connection.execute("SHOW transaction_read_only")
            writable = found.rows[0] == ("off",)
            if not writable:
                member.connection.lose(psycopg2.OperationalError("the server is read-only"))
        finally:
            self.release_connection(member)
        return writable

    # --- lending ----------------------------------------------------------------------------

    async def acquire_connection(self) -> PooledConnection:
        """Return a connection that the caller must release: for :class:`Acquire`."""
        if not self._running:
            raise ServiceUnavailable("The database pool is not running")
        if self._members.idle and not self._waiters:
            member = self._members.acquire()
        else:
            member = await self._waiters.wait()
        self._acquired_total += 1
        return member

    def release_connection(self, member: PooledConnection) -> None:
        """Take a connection back in whatever state it is."""
        connection = member.connection
        if not self._running or connection.closed:
            self._drop(member)
        elif connection.busy or connection.in_transaction or connection.session_changed:
            begin(self._recover(member), self._recoveries)
        else:
            self._members.release(member)

    async def _recover(self, member: PooledConnection) -> None:
        """Make a connection fit to be lent again, or drop it.  It counts as in use meanwhile."""
        try:
            committing, member.committing = member.committing, None
            if committing is not None:  # and is to end, if it can
                await committing.addTimeout(_COMMIT_SECS, self._clock)
            await member.connection.reset()
        except Exception as error:
            _log.info("A database connection was dropped: {reason!r}", reason=error)
            self._drop(member)
            return
        if self._running and not member.connection.closed:
            self._members.release(member)
        else:
            self._drop(member)

    def _drop(self, member: PooledConnection) -> None:
        self._members.discard(member)
        if not self._members.in_use:
            for returned in tuple(self._all_returned):
                returned.callback(None)

    def _serve(self) -> None:
        """Hand idle connections to those who wait.

        Who is served may give back before this returns.  Then the loop goes on with the next,
        because serving from there would pile up a stack as deep as the queue is long.
        """
        if self._serving:
            return
        self._serving = True
        try:
            while self._waiters and self._members.idle:
                self._waiters.serve(self._members.acquire())
        finally:
            self._serving = False


def make_pool(config: DbConfig, *, reactor: Reactor, statement_timeout_secs: float | None) -> Pool:
    """Return a pool, not yet started, as ``config`` has it.

    The server ends a statement after ``statement_timeout_secs``, or never if that is None.
    """
    open_one = partial(
        connect,
        config,
        reactor=reactor,
        statement_timeout_secs=statement_timeout_secs,
        timeout_secs=min(config.connect_timeout_secs, _MAX_CONNECT_SECS),
    )
    return Pool(
        open_one,
        clock=reactor,
        min_size=config.pool_min,
        max_size=config.pool_max,
        acquire_timeout_secs=config.acquire_timeout_secs,
    )
