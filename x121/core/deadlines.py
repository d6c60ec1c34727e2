"""Many deadlines of the same length, with one timer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Deadlines"]

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Calls ``expired(key)`` for every key that isn't stopped within ``seconds`` of its start.

    All deadlines have the same length, so they expire in the order of their starts, and one timer
    for the oldest is enough: while others wait, starting and stopping a key cost a dict entry.
    """

    def __init__(
        self, seconds: float, expired: Callable[[K], object], *, clock: IReactorTime
    ) -> None:
        self._seconds = seconds
        self._expired = expired
        self._clock = clock
        self._ends: dict[K, float] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, key: object) -> bool:
        return key in self._ends

    def __iter__(self) -> Iterator[K]:
        """Yield the keys that are running, oldest first."""
        return iter(self._ends)

    def start(self, key: K) -> None:
        """Set the deadline of ``key`` to ``seconds`` from now, replacing its old one."""
        self._ends.pop(key, None)
        self._ends[key] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._sweep)

    def stop(self, key: K) -> None:
        """Remove the deadline of ``key``, if it has one.

        When no key is left, the timer is cancelled.
        """
        self._ends.pop(key, None)
        if not self._ends and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        due = []
        for key, end in self._ends.items():
            if end > now:
                break
            due.append(key)
        try:
            for key in due:
                # One key's callback may stop others that are due in the same sweep.
                if self._ends.pop(key, None) is not None:
                    self._expired(key)
        finally:
            self._wait_for_first(now)

    def _wait_for_first(self, now: float) -> None:
        """Reset the timer: one that was started during a sweep isn't for the first key."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            first = next(iter(self._ends.values()))
            self._timer = self._clock.callLater(max(0.0, first - now), self._sweep)
