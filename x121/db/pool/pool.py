"""Pool of PostgreSQL connections, with bounded waiting and clean sessions.

:func:`make_pool` builds a :class:`Pool`. Features use :meth:`Pool.transaction`, or
:meth:`Pool.fetch_all` and its siblings for a single statement::

    async with pool.transaction() as session:
        await session.execute("INSERT INTO item (name) VALUES (%s)", (name,))

Session state never passes to the next user of a connection. After a statement that may leave some
(SET, a temporary table, LISTEN, a session-level advisory lock), the pool runs ``DISCARD ALL``
before it hands the connection out again; other statements don't pay for this. Changes made by a
function or trigger are not detected. Use ``SET LOCAL``, ``set_config(..., true)`` and
``pg_advisory_xact_lock()`` there: they end with the transaction.
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
# Time that a COMMIT may still take when its caller has been cancelled.
_COMMIT_SECS = 2.0


@dataclass(frozen=True)
class PoolStats:
    """State of the pool at one moment.  Totals count from the start; ``size`` is idle plus in use.

    ``recovering`` connections are part of those in use: they have been released, and their sessions
    are being cleaned up.
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
    """Pool of ``min_size`` to ``max_size`` connections, each used by one caller at a time.

    ``connect`` opens a connection and has its own timeout. All times are in seconds of ``clock``. A
    connection is replaced when it is lost, and after ``max_lifetime_secs`` or up to a tenth less.
    Up to ``max_waiting`` callers may wait, each for ``acquire_timeout_secs``. The pool's own query
    methods run on any connection.
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
            raise ValueError(
                f"invalid pool size: min_size={min_size}, max_size={max_size}"
                " (expected 0 <= min_size <= max_size and max_size >= 1)"
            )
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
        self._waiters = Waiters(
            clock=clock,
            seconds=acquire_timeout_secs,
            limit=max_waiting,
            why=self._describe,
            joined=lambda: self._members.ensure_min(),
            returned=self.release_connection,
        )
        self._members = ConnectionSet(
            connect,
            clock=clock,
            min_size=min_size,
            max_size=max_size,
            max_lifetime_secs=max_lifetime_secs,
            rng=self._rng,
            waiting=self._waiters.queue,
            available=self._serve,
        )

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open ``min_size`` connections.

        Raises the :class:`psycopg2.Error` of the first that fails, and closes the others; start may
        then be called again.
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
        """Close all connections: idle ones at once, those in use when they are released.

        Connections still in use after ``grace_secs`` are closed, and their queries fail with
        :class:`psycopg2.OperationalError`. Waiting callers fail at once.
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
                "Closing {count} database connections that are still in use",
                count=len(self._members.in_use),
            )
        finally:
            self._all_returned.remove(returned)

    def stats(self) -> PoolStats:
        """Return the pool's current state and its counters."""
        members, waiters = self._members, self._waiters
        return PoolStats(
            size=members.size,
            idle=len(members.idle),
            in_use=len(members.in_use),
            recovering=len(self._recoveries),
            connecting=len(members.openings),
            waiting=len(waiters.queue),
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
        """Return a context manager for a connection on which each statement is its own transaction.

        Entering it raises :class:`x121.errors.ServiceUnavailable` if no connection becomes free in
        time. A transaction that is still open at the end is rolled back.
        """
        return Acquire(self)

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """Return a context manager for one transaction: commits at the end of its block.

        An exception of the block rolls back and propagates. Entering raises as :meth:`acquire`
        does. Leaving raises the :class:`psycopg2.Error` of a COMMIT that fails. When the block is
        cancelled, its caller continues at once, and the pool cancels the query and rolls back, or
        lets a COMMIT that has been sent complete. The caller doesn't learn the outcome of that
        COMMIT; if the connection is lost meanwhile, the outcome is unknown. Use
        :meth:`Session.on_commit` for work that depends on it.
        """
        return Transaction(self)

    async def retry(self, work: Callable[[Session], Awaitable[T]], *, attempts: int = 3) -> T:
        """Return the result of ``work(session)``, which runs in a transaction.

        After a serialization failure, a deadlock or an unavailable lock, the transaction is rolled
        back and ``work`` runs again in a new one, after a short random delay: ``attempts`` times at
        most, then the error is raised. Any other error is raised at once. ``work`` must have no
        side effects but queries and :meth:`Session.on_commit`, whose callbacks run only for the
        attempt that is committed.
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
        member = self.acquire_idle() or await self.acquire_waiting()
        try:
            return await member.connection.execute(query, params)
        finally:
            self.release_connection(member)

    async def ping(self) -> None:
        """Return once the database has answered; raises as a query does."""
        await self.execute("SELECT 1")

    async def is_writable(self) -> bool:
        """Return True if the database accepts writes, which a standby doesn't.

        A connection to a read-only server is replaced, because a new one may reach the primary.
        Raises as :meth:`fetch_one` does.
        """
        member = self.acquire_idle() or await self.acquire_waiting()
        try:
            found = await member.connection.execute("SHOW transaction_read_only")
            writable = found.rows[0] == ("off",)
            if not writable:
                member.connection.lose(psycopg2.OperationalError("the server is read-only"))
        finally:
            self.release_connection(member)
        return writable

    # --- acquiring and releasing ------------------------------------------------------------

    def acquire_idle(self) -> PooledConnection | None:
        """Return an idle connection, or None if there is none or others wait for one.

        The caller must release it. Used by :class:`Acquire`.
        """
        if self._running and self._members.idle and not self._waiters.queue:
            self._acquired_total += 1
            return self._members.acquire()
        return None

    async def acquire_waiting(self) -> PooledConnection:
        """Wait for a connection, which the caller must release; used by :class:`Acquire`."""
        if not self._running:
            raise ServiceUnavailable("The database pool is not running")
        member = await self._waiters.wait()
        self._acquired_total += 1
        return member

    def release_connection(self, member: PooledConnection) -> None:
        """Take a connection back, whatever its state."""
        connection = member.connection
        if self._running and connection.is_clean:
            self._members.release(member)
        elif not self._running or connection.closed:
            self._drop(member)
        else:
            begin(self._recover(member), self._recoveries)

    async def _recover(self, member: PooledConnection) -> None:
        """Clean up a connection for its next use, or close it.  It counts as in use meanwhile."""
        try:
            committing, member.committing = member.committing, None
            if committing is not None:  # give it time to complete
                await committing.addTimeout(_COMMIT_SECS, self._clock)
            await member.connection.reset()
        except Exception as error:
            _log.info(
                "Closed a database connection that could not be cleaned up: {reason!r}",
                reason=error,
            )
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
        """Hand idle connections to waiting callers.

        A caller may release its connection before this returns. The loop then goes on with the next
        caller; a recursive call would build a stack as deep as the queue is long.
        """
        if self._serving:
            return
        self._serving = True
        try:
            while self._waiters.queue and self._members.idle:
                self._waiters.serve(self._members.acquire())
        finally:
            self._serving = False


def make_pool(config: DbConfig, *, reactor: Reactor, statement_timeout_secs: float | None) -> Pool:
    """Return a pool configured by ``config``, not yet started.

    The server cancels a statement after ``statement_timeout_secs``; None means no limit.
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
