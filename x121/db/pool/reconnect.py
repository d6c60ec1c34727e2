"""Reconnect delays and log lines for a database that can't be reached."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["ReconnectBackoff"]

_log = Logger(namespace="x121.db.pool")

_FIRST_DELAY_SECS = 0.1
_MAX_DELAY_SECS = 2.0
_QUIET_SECS = 10.0


class ReconnectBackoff:
    """Logs one line when an outage begins and one when it ends, however long it lasts.

    After a failure, ``retry`` is called once, after a delay that grows from 0.1 to 2 seconds. The
    delays are randomised by ``rng``, so that many servers don't reconnect at the same time.
    """

    def __init__(self, *, clock: IReactorTime, rng: Random, retry: Callable[[], object]) -> None:
        self._clock = clock
        self._rng = rng
        self._retry = retry
        self._timer: IDelayedCall | None = None
        self._since: float | None = None
        self._failures = 0
        self._losses = 0
        self.last_error = ""

    @property
    def failing(self) -> bool:
        """True if the last attempt to connect failed."""
        return self._failures > 0

    @property
    def delaying(self) -> bool:
        """True if a retry is scheduled; nothing should try to connect before it."""
        return self._timer is not None

    def lost(self, error: BaseException) -> None:
        """Record that a connection was lost."""
        now = self._clock.seconds()
        if self._since is None or (not self.failing and now - self._since > _QUIET_SECS):
            self._since = now
            self._losses = 0
            _log.warn("A database connection was lost: {reason}", reason=_one_line(error))
        self._losses += 1

    def failed(self, error: BaseException) -> None:
        """Record that an attempt to connect failed, and schedule ``retry``."""
        self.last_error = _one_line(error)
        if self._since is None:
            self._since = self._clock.seconds()
        if not self._failures:
            _log.warn("The database is not reachable: {reason}", reason=self.last_error)
        self._failures += 1
        self.delay()

    def delay(self) -> None:
        """Schedule ``retry`` after the current delay, unless it is scheduled already."""
        if self._timer is None:
            doubled = _FIRST_DELAY_SECS * 2.0 ** min(max(0, self._failures - 1), 10)
            seconds = min(_MAX_DELAY_SECS, doubled) * self._rng.uniform(0.75, 1.0)
            self._timer = self._clock.callLater(seconds, self._try_again)

    def over(self) -> None:
        """Record that an attempt to connect succeeded."""
        now = self._clock.seconds()
        # A lost connection that was not needed, before one is opened much later, is no outage.
        if self._since is not None and (self.failing or now - self._since <= _QUIET_SECS):
            _log.info(
                "Connected to the database again after {seconds:.1f} s"
                " ({losses} connections lost, {failures} attempts failed)",
                seconds=now - self._since,
                losses=self._losses,
                failures=self._failures,
            )
        self._since = None
        self._failures = 0
        self._losses = 0
        self.last_error = ""

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try_again(self) -> None:
        self._timer = None
        self._retry()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
