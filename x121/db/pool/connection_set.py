"""Connections of a pool: opened when missing, closed when old, replaced when lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sized
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
    """Keeps between ``min_size`` and ``max_size`` connections, idle or in use.

    Opens more than ``min_size`` for the callers in ``waiting``, and calls ``available`` when a
    connection has become idle while there are some.
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
        waiting: Sized,
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
        self.idle: list[PooledConnection] = []  # last in, first out, so that the others age
        self.in_use: set[PooledConnection] = set()
        self.openings: set[Deferred[Any]] = set()
        self.outage = ReconnectBackoff(clock=clock, rng=rng, retry=self.ensure_min)
        self.opened_total = 0
        self.lost_total = 0

    @property
    def size(self) -> int:
        """Number of open connections; those that are still connecting don't count."""
        return len(self.idle) + len(self.in_use)

    # --- life -------------------------------------------------------------------------------

    async def open_first(self) -> None:
        """Open ``min_size`` connections; if one fails, close all and raise its error."""
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
        """Open no more connections, close the idle ones, and cancel all timers."""
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

    # --- acquiring and releasing ------------------------------------------------------------

    def acquire(self) -> PooledConnection:
        """Return an idle connection; there must be one."""
        member = self.idle.pop()
        self.in_use.add(member)
        return member

    def release(self, member: PooledConnection) -> None:
        """Take back a connection that can be used again."""
        now = self._clock.seconds()
        if self._has_expired(member, now):
            self.discard(member)
            return
        self.in_use.discard(member)
        member.idle_since = now
        self.idle.append(member)
        if self._waiting:
            self._available()
        if self._tending is None and self.idle:
            self._tending = self._clock.callLater(_TEND_SECS, self._sweep)

    def discard(self, member: PooledConnection) -> None:
        """Close a connection, idle or in use, and replace it if needed."""
        self.in_use.discard(member)
        if member in self.idle:
            self.idle.remove(member)
        member.connection.on_lost = None
        member.connection.close()
        self.ensure_min()

    # --- opening ----------------------------------------------------------------------------

    def ensure_min(self) -> None:
        """Open missing connections, unless an attempt has just failed."""
        while self._active and not self.outage.delaying and self._missing() > 0:
            opening = begin(self._open(), self.openings)
            opening.addBoth(lambda _: self.ensure_min())

    def _missing(self) -> int:
        wanted = max(self._min_size - self.size, len(self._waiting))
        # One attempt is enough to find out if the database is back.
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
        """Replace a lost connection: at once if it was idle, or else when it is released."""
        self.lost_total += 1
        self.outage.lost(error)
        if self._clock.seconds() - member.opened_at < _YOUNG_SECS:
            self.outage.delay()  # a server that accepts and closes would cause a busy loop
        if member in self.idle:
            self.idle.remove(member)
        self.ensure_min()

    def _sweep(self) -> None:
        """Close idle connections that are too old, or have not been needed for some time."""
        self._tending = None
        now = self._clock.seconds()
        for member in tuple(self.idle):
            surplus = self.size > self._min_size and now - member.idle_since >= _SURPLUS_IDLE_SECS
            if surplus or self._has_expired(member, now):
                self.discard(member)
        if self.idle and self._tending is None:
            self._tending = self._clock.callLater(_TEND_SECS, self._sweep)

    def _has_expired(self, member: PooledConnection, now: float) -> bool:
        # While the database can't be reached, an old connection is better than none.
        return now >= member.expires_at and not self.outage.failing


def begin(work: Coroutine[Deferred[Any], Any, Any], group: set[Deferred[Any]]) -> Deferred[Any]:
    """Start ``work`` in ``group``, which tracks it until it ends; log its exceptions.

    It runs in an empty context: its log lines don't belong to the request that started it.
    """
    running = Context().run(Deferred.fromCoroutine, work)
    group.add(running)

    def end(result: Any) -> None:
        group.discard(running)
        if isinstance(result, Failure) and not result.check(defer.CancelledError):
            _log.failure("Unexpected error in the database pool", result)

    return running.addBoth(end)
