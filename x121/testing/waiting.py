"""Waits with the real reactor for servers in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

__all__ = ["PATIENCE_SECS", "Waiting", "global_reactor"]

T = TypeVar("T")

PATIENCE_SECS = 10.0
"""Maximum real time, in seconds, to wait for a result from a database or a thread."""

_TURN_SECS = 0.001


def global_reactor() -> Any:
    """Return the reactor that the tests run on; install one if there is none."""
    from twisted.internet import reactor

    return reactor


class Waiting:
    """Runs the reactor until a condition is true.  ``clock`` doesn't advance meanwhile.

    Calls that are due on ``clock`` now still run, such as those "in the next turn" of code that
    waited for something real.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: set[Deferred[Any]] = set()

    def until(self, condition: Callable[[], T | None], what: str) -> Deferred[T]:
        """Return a Deferred that fires with the result of ``condition`` once that is true.

        Fails with an :class:`AssertionError` that contains ``what`` after :data:`PATIENCE_SECS`,
        and with any exception of ``condition``.
        """
        wait = Deferred.fromCoroutine(self._poll(condition, what))
        if not wait.called:
            self._waits.add(wait)
            wait.addBoth(self._forget, wait)
        return wait

    def close(self) -> None:
        """End every wait without calling back, and leave no timers in the reactor."""
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
                raise AssertionError(f"timed out after {PATIENCE_SECS:g} s: {what}")
            await deferLater(reactor, _TURN_SECS)

    def _forget(self, outcome: T | Failure, wait: Deferred[Any]) -> T | Failure:
        self._waits.discard(wait)
        return outcome
