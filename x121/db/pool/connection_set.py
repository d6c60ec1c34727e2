"""The connections that a pool has: opened when missing, closed when old, replaced when lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from functools import partial
from random import Random
from typing import Any

import psycopg2
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from x121.db.pool.reconnect import ReconnectBackoff
from x121.db.pool.session import PoolableConnection, PooledConnection
from x121.errors import ServiceUnavailable

__all__ = ["ConnectionSet", "begin"]

_log = Logger(namespace="x121.db.pool")

_MAX_CONNECTING = 3
_TEND_SECS = 15.0
_SURPLUS_IDLE_SECS = 120.0
_YOUNG_SECS = 1.0


class ConnectionSet:
    """Keeps between ``min_size`` and ``max_size`` connections, idle ones and those in use.

    It opens more than ``min_size`` while ``waiting()`` says that somebody waits, and calls
    ``available`` whenever a connection has become idle.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PoolableConnection]],
        *,
        clock: IReactorTime,
        min_size: int,
        max_size: int,
        max_lifetime_secs: float,
        rng: Random,
        waiting: Callable[[], int],
        available: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._min_size = min_size
        self._max_size = max_size
        self._max_lifetime_secs = max_lifetime_secs
        self._rng = rng
        self._waiting = waiting
        self._available = available
        self._active = False
        self._closed = False
        self._tending: IDelayedCall | None = None
        self.idle: list[PooledConnection] = []  # the last one returned is lent first, so others age
        self.in_use: set[PooledConnection] = set()
        self.openings: set[Deferred[Any]] = set()
        self.outage = ReconnectBackoff(clock=clock, rng=rng, retry=self.ensure_min)
        self.opened_total = 0
        self.lost_total = 0

    @property
    def size(self) -> int:
        """How many there are; those that are being opened don't count."""
        return len(self.idle) + len(self.in_use)

    # --- life -------------------------------------------------------------------------------

    async def open_first(self) -> None:
        """Open ``min_size``, or raise what the first failure raises and leave none."""
        opened: list[PoolableConnection] = []
        try:
            while len(opened) < self._min_size:
                opened.append(await self._connect())
            if self._closed:
                raise ServiceUnavailable("The database pool was stopped")
        except BaseException:
            for connection in opened:
                connection.close()
            raise
        self._active = True
        for connection in opened:
            self._add(connection)
        self.ensure_min()

    def close_idle(self) -> None:
        """Open no more, and close what isn't in use.  No timer is left."""
        self._active = False
        self._closed = True
        self.outage.close()
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        for opening in tuple(self.openings):
            opening.cancel()
        while self.idle:
            self.discard(self.idle[-1])

    # --- lending ----------------------------------------------------------------------------

    def acquire(self) -> PooledConnection:
        """Return an idle connection, which there must be."""
        member = self.idle.pop()
        self.in_use.add(member)
        return member

    def release(self, member: PooledConnection) -> None:
        """Take back a connection that is fit for the next borrower."""
        now = self._clock.seconds()
        if self._has_expired(member, now):
            self.discard(member)
            return
        self.in_use.discard(member)
        member.idle_since = now
        self.idle.append(member)
        self._available()
        if self._tending is None and self.idle:
            self._tending = self._clock.callLater(_TEND_SECS, self._sweep)

    def discard(self, member: PooledConnection) -> None:
        """Close a connection, wherever it is, and replace it if it is missed."""
        self.in_use.discard(member)
        if member in self.idle:
            self.idle.remove(member)
        member.connection.on_lost = None
        member.connection.close()
        self.ensure_min()

    # --- opening ----------------------------------------------------------------------------

    def ensure_min(self) -> None:
        """Open what is missing, unless an attempt has just failed."""
        while self._active and not self.outage.delaying and self._missing() > 0:
            opening = begin(self._open(), self.openings)
            opening.addBoth(lambda _: self.ensure_min())

    def _missing(self) -> int:
        wanted = max(self._min_size - self.size, self._waiting())
        # One attempt is enough to learn whether the database is back.
        at_once = 1 if self.outage.failing else _MAX_CONNECTING
        return min(wanted, self._max_size - self.size, at_once) - len(self.openings)

    async def _open(self) -> None:
        try:
            connection = await self._connect()
        except Exception as error:
            if self._active:
                self.outage.failed(error)
            return
        if self._active:
            self.outage.over()
            self._add(connection)
        else:
            connection.close()

    def _add(self, connection: PoolableConnection) -> None:
        now = self._clock.seconds()
        lifetime = self._max_lifetime_secs * self._rng.uniform(0.9, 1.0)
        member = PooledConnection(
            connection, opened_at=now, expires_at=now + lifetime, idle_since=now
        )
        self.opened_total += 1
        connection.on_lost = partial(self._lost, member)
        if connection.closed:
            self._lost(member, psycopg2.OperationalError("it ended as soon as it was open"))
        else:
            self.release(member)

    # --- losing and ageing ------------------------------------------------------------------

    def _lost(self, member: PooledConnection, error: BaseException) -> None:
        """Replace a connection that ended by itself; one in use when it is given back."""
        self.lost_total += 1
        self.outage.lost(error)
        if self._clock.seconds() - member.opened_at < _YOUNG_SECS:
            self.outage.delay()  # a server that accepts and hangs up would keep us busy
        if member in self.idle:
            self.idle.remove(member)
        self.ensure_min()

    def _sweep(self) -> None:
        """Close idle connections that are too old, or not needed for long."""
        self._tending = None
        now = self._clock.seconds()
        for member in tuple(self.idle):
            surplus = self.size > self._min_size and now - member.idle_since >= _SURPLUS_IDLE_SECS
            if surplus or self._has_expired(member, now):
                self.discard(member)
        if self.idle and self._tending is None:
            self._tending = self._clock.callLater(_TEND_SECS, self._sweep)

    def _has_expired(self, member: PooledConnection, now: float) -> bool:
        # An old connection is better than none.
        return now >= member.expires_at and not self.outage.failing


def begin(work: Coroutine[Deferred[Any], Any, Any], group: set[Deferred[Any]]) -> Deferred[Any]:
    """Run ``work`` by itself, known to ``group`` until it ends, and log what it raises.

    It gets a context of its own: what it logs is not about the request that set it off.
    """
    running = Context().run(Deferred.fromCoroutine, work)
    group.add(running)

    def end(result: Any) -> None:
        group.discard(running)
        if isinstance(result, Failure) and not result.check(defer.CancelledError):
            _log.failure("Unexpected error in the database pool", result)

    return running.addBoth(end)
