"""Waits, with the real reactor, for what servers in memory do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

__all__ = ["PATIENCE_SECS", "Waiting", "global_reactor"]

T = TypeVar("T")

PATIENCE_SECS = 10.0
"""How long, in real time, something may take that comes from a database or a thread."""

_TURN_SECS = 0.001


def global_reactor() -> Any:
    """Return the reactor that the tests run on, and install one if there is none."""
    from twisted.internet import reactor

    return reactor


class Waiting:
    """Lets the reactor turn until something has come.  ``clock`` stands still meanwhile.

    What is due on it now is done all the same: calls "in the next turn" of those that were
    waiting for something real.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: set[Deferred[Any]] = set()

    def until(self, condition: Callable[[], T | None], what: str) -> Deferred[T]:
        """Return a Deferred of what ``condition`` returns once that is true.

        Fails with an :class:`AssertionError` that says ``what`` after :data:`PATIENCE_SECS`,
        and with what ``condition`` raises.
        """
        wait = Deferred.fromCoroutine(self._poll(condition, what))
        if not wait.called:
            self._waits.add(wait)
            wait.addBoth(self._forget, wait)
        return wait

    def close(self) -> None:
        """End every wait: nothing is left in the reactor, and nobody hears of it."""
        for wait in tuple(self._waits):
            wait.addErrback(lambda _: None)
            wait.cancel()

    async def _poll(self, condition: Callable[[], T | None], what: str) -> T:
        reactor = global_reactor()
        deadline = reactor.seconds() + PATIENCE_SECS
        while True:
            self._clock.advance(0)
            result = condition()
            if result:
                return result
            if reactor.seconds() > deadline:
                raise AssertionError(f"{what}, not within {PATIENCE_SECS:g} s")
            await deferLater(reactor, _TURN_SECS)

    def _forget(self, outcome: T | Failure, wait: Deferred[Any]) -> T | Failure:
        self._waits.discard(wait)
        return outcome
