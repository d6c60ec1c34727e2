"""Delayed calls over a uvloop event loop: in the order of their times, never early.

They are Twisted's :class:`~twisted.internet.base.DelayedCall` objects, in a heap.  Scheduling in
the loop is cheap: calls without a delay share one ``call_soon``, and all others share one timer.
Twisted's asyncio reactor computes its timer again for each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from twisted.internet.base import DelayedCall
from twisted.logger import Logger

if TYPE_CHECKING:
    import asyncio

__all__ = ["DelayedCalls"]

_log = Logger(namespace="x121.reactor.timers")

# Limits libuv's timer, an integer of milliseconds; waking once a day without need costs nothing.
_MAX_SECS = 86_400.0
# Stale calls, which were cancelled or moved, are removed when they outnumber this and the others.
_MANY_STALE = 50


class DelayedCalls:
    """Heap of delayed calls, timed by the clock ``seconds``.

    ``turn`` is called in ``loop``, and in ``context``, when calls may be due; it must call
    :meth:`run_due`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: Callable[[], float],
        turn: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._turn = turn
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._made = 0
        self._stale = 0
        self._turn_is_next = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.context = Context()

    def add(
        self,
        delay: float,
        function: Callable[..., object],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> DelayedCall:
        """Add and return a call that is due in ``delay`` seconds."""
        call = DelayedCall(
            self._seconds() + delay,
            function,
            args,
            kwargs,
            self._cancelled,
            self._moved,
            self._seconds,
        )
        self._push(call)
        if delay == 0:
            self.turn_soon()
        elif call.time < self._timer_at:
            self._wake_at(call.time)
        return call

    def pending(self) -> list[DelayedCall]:
        """Return the pending calls."""
        return list({id(call): call for _, _, call in self._heap if call.active()}.values())

    def run_due(self) -> None:
        """Make the calls that are due; calls added meanwhile wait for the next turn."""
        self._turn_is_next = False
        heap = self._heap
        last, now = self._made, self._seconds()
        while heap and heap[0][0] <= now and heap[0][1] <= last:
            time, _, call = heappop(heap)
            if call.cancelled or call.called or call.time != time:
                self._stale -= 1
            elif call.delayed_time > 0:
                call.activate_delay()
                self._push(call)
            else:
                _make(call)
        if heap and heap[0][0] < self._timer_at and not self._turn_is_next:
            self._wake_at(heap[0][0])

    def until_next(self) -> float | None:
        """Return the seconds until the next call may be due, or None if there is none."""
        return max(0.0, self._heap[0][0] - self._seconds()) if self._heap else None

    def turn_soon(self) -> None:
        """Schedule a turn as soon as possible."""
        if not self._turn_is_next:
            self._turn_is_next = True
            self._loop.call_soon(self._turn, context=self.context)

    def _push(self, call: DelayedCall) -> None:
        self._made += 1
        heappush(self._heap, (call.time, self._made, call))

    def _wake_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        delay = min(time - self._seconds(), _MAX_SECS)
        # uvloop rounds to the nearest millisecond, and could wake the reactor too early.  An excess
        # of less than a microsecond is a float's rounding error.
        milliseconds = max(1, math.ceil(delay * 1000 - 0.001)) if delay > 0 else 0
        self._timer = self._loop.call_later(
            milliseconds / 1000, self._timer_fired, context=self.context
        )

    def _timer_fired(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._turn()

    def _cancelled(self, call: DelayedCall) -> None:
        self._count_stale()

    def _moved(self, call: DelayedCall) -> None:
        """Add ``call`` again, which is due sooner now: its old entry in the heap is stale."""
        self._push(call)
        self._count_stale()
        if call.time < self._timer_at:
            self._wake_at(call.time)

    def _count_stale(self) -> None:
        self._stale += 1
        if self._stale > _MANY_STALE and self._stale > len(self._heap) // 2:
            self._stale = 0
            self._heap[:] = [
                entry for entry in self._heap if entry[2].active() and entry[2].time == entry[0]
            ]
            heapify(self._heap)


def _make(call: DelayedCall) -> None:
    call.called = 1
    try:
        call.func(*call.args, **call.kw)
    except BaseException:
        made_in = "".join(call.creator or ())
        _log.failure("Unhandled error in a delayed call {made_in}", made_in=made_in)
