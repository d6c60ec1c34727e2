"""Heartbeat: one timer pings all connections, each once per interval.

The interval is divided into slots, which are pinged one after the other.  New connections are
added to the slot that was pinged last, the one before that, and so on.  So ten thousand pings are
not sent in one turn of the reactor, even if all connections opened in the same one.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from x121.core.deadlines import Deadlines
from x121.ws.connection import Transport

__all__ = ["Heartbeat"]

_MAX_SLOTS = 256
_MIN_TICK_SECS = 0.02


class Heartbeat:
    """Pings every watched connection every ``interval_secs``.

    A connection that shows no sign of life for ``pong_timeout_secs`` after a ping is dropped.  The
    timer runs only while a connection is watched.
    """

    def __init__(
        self, *, interval_secs: float, pong_timeout_secs: float, clock: IReactorTime
    ) -> None:
        count = max(1, min(_MAX_SLOTS, int(interval_secs / _MIN_TICK_SECS)))
        self._tick_secs = interval_secs / count
        self._slots: list[dict[Transport, None]] = [{} for _ in range(count)]
        self._slot_of: dict[Transport, dict[Transport, None]] = {}
        self._newest = 0
        self._turn = 0
        self._next_turn_at = 0.0
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._unanswered = Deadlines(pong_timeout_secs, _judge, clock=clock)

    def watch(self, link: Transport) -> None:
        """Ping ``link`` from now on, the first time within one interval."""
        if self._timer is None:
            self._newest = self._turn + 1
            self._next_turn_at = self._clock.seconds() + self._tick_secs
            self._timer = self._clock.callLater(self._tick_secs, self._tick)
        self._newest = (self._newest - 1) % len(self._slots)
        slot = self._slot_of[link] = self._slots[self._newest]
        slot[link] = None

    def forget(self, link: Transport) -> None:
        """Stop watching ``link``; do nothing if it isn't watched."""
        slot = self._slot_of.pop(link, None)
        if slot is None:
            return
        del slot[link]
        self._unanswered.stop(link)
        if not self._slot_of and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """Ping the slots that are due, those missed while the reactor was busy included."""
        now = self._clock.seconds()
        due = 1 + int((now - self._next_turn_at) / self._tick_secs)
        self._next_turn_at += due * self._tick_secs
        self._timer = self._clock.callLater(self._next_turn_at - now, self._tick)
        for _ in range(min(due, len(self._slots))):
            self._turn = (self._turn + 1) % len(self._slots)
            for link in list(self._slots[self._turn]):
                self._ping(link)

    def _ping(self, link: Transport) -> None:
        if link not in self._slot_of:
            return  # the ping of another connection closed it
        # If the pong timeout is longer than the interval, the first ping's deadline stands.
        if link not in self._unanswered:
            link.expect_activity()
            self._unanswered.start(link)
        link.ping()


def _judge(link: Transport) -> None:
    if not link.is_alive():
        link.fail_ping()
