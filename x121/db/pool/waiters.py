"""Queue of callers waiting for a connection: first come, first served, with limits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from x121.core.deadlines import Deadlines
from x121.db.pool.session import PooledConnection
from x121.errors import ServiceUnavailable

__all__ = ["Waiters"]


class _Waiter:
    __slots__ = ("member", "served")

    def __init__(self) -> None:
        self.served: Deferred[None] = Deferred()
        self.member: PooledConnection | None = None


class Waiters:
    """Queue of at most ``limit`` waiting callers, each for at most ``seconds``.

    ``why`` returns the reason for the wait, for the log. ``joined`` is called when a caller begins
    to wait. ``returned`` takes a connection back that was handed to a caller that had just been
    cancelled. ``queue`` has the callers, first come first.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        seconds: float,
        limit: int,
        why: Callable[[], str],
        joined: Callable[[], None],
        returned: Callable[[PooledConnection], None],
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._deadlines: Deadlines[_Waiter] = Deadlines(seconds, self._expire, clock=clock)
        self._limit = limit
        self._why = why
        self._joined = joined
        self._returned = returned
        self.queue: OrderedDict[_Waiter, None] = OrderedDict()
        self.waited_total = 0
        self.waited_secs_total = 0.0
        self.timeouts_total = 0
        self.refused_total = 0

    async def wait(self) -> PooledConnection:
        """Return a connection; raise :class:`ServiceUnavailable` when it takes too long."""
        if len(self.queue) >= self._limit:
            self.refused_total += 1
            raise ServiceUnavailable(
                "Too many requests are waiting for a database connection", detail=self._why()
            )
        waiter = _Waiter()
        begin = self._clock.seconds()
        self._deadlines.start(waiter)
        self.queue[waiter] = None
        self.waited_total += 1
        try:
            self._joined()
            await waiter.served
        except BaseException:
            # Also when the coroutine is cancelled or closed between serve() and here.
            if waiter.member is not None:
                self._returned(waiter.member)
            raise
        finally:
            self.queue.pop(waiter, None)
            self.waited_secs_total += self._clock.seconds() - begin
            self._deadlines.stop(waiter)
        assert waiter.member is not None
        return waiter.member

    def serve(self, member: PooledConnection) -> None:
        """Hand ``member`` to the first caller in the queue."""
        waiter, _ = self.queue.popitem(last=False)
        waiter.member = member
        waiter.served.callback(None)

    def fail(self, error: Exception) -> None:
        """Fail all waiting callers with ``error``."""
        while self.queue:
            waiter, _ = self.queue.popitem(last=False)
            waiter.served.errback(error)

    def _expire(self, waiter: _Waiter) -> None:
        self.timeouts_total += 1
        detail = self._why()
        self.queue.pop(waiter, None)
        waiter.served.errback(
            ServiceUnavailable(
                f"No database connection within {self._seconds:g} s",
                detail=detail,
            )
        )
