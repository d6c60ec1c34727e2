"""Restarts the embedded PostgreSQL when it has ended by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Supervisor"]

_log = Logger(namespace="x121.db.embedded")

_POLL_SECS = 1.0
_FIRST_DELAY_SECS = 1.0
_MAX_DELAY_SECS = 30.0
_STABLE_SECS = 60.0


class Supervisor:
    """Calls ``is_running`` every second, and ``restart`` when it returns False.

    The first attempt is made at once. Each attempt that fails, or whose server ends within a
    minute, doubles the delay before the next, from one second to thirty.
    """

    def __init__(
        self,
        *,
        is_running: Callable[[], Awaitable[bool]],
        restart: Callable[[], Awaitable[object]],
        clock: IReactorTime,
    ) -> None:
        self._is_running = is_running
        self._restart = restart
        self._clock = clock
        self._delay_secs = 0.0
        self._started_at = clock.seconds()
        self._watching: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to watch a running server."""
        self._started_at = self._clock.seconds()
        self._watching = Deferred.fromCoroutine(self._watch())
        self._watching.addErrback(self._log_failure)

    def cancel(self) -> None:
        """Stop restarting the server.  An attempt that is under way is cancelled."""
        if self._watching is not None:
            self._watching.cancel()

    async def stop(self) -> None:
        """Wait until no attempt is under way, after :meth:`cancel`."""
        self.cancel()
        watching, self._watching = self._watching, None
        if watching is not None:
            await watching

    async def _watch(self) -> None:
        while True:
            await deferLater(self._clock, _POLL_SECS)
            if not await self._is_running():
                await self._start_again()

    async def _start_again(self) -> None:
        ended_at = self._clock.seconds()
        _log.error("The embedded PostgreSQL has ended by itself; restarting it")
        if ended_at - self._started_at >= _STABLE_SECS:
            self._delay_secs = 0.0
        while True:
            await deferLater(self._clock, self._delay_secs)
            self._delay_secs = min(max(_FIRST_DELAY_SECS, 2 * self._delay_secs), _MAX_DELAY_SECS)
            try:
                await self._restart()
            except CancelledError:
                raise
            except Exception as error:
                _log.error(
                    "The embedded PostgreSQL did not start; next attempt in {secs:g} s: {error}",
                    secs=self._delay_secs,
                    error=str(error),
                )
            else:
                break
        self._started_at = self._clock.seconds()
        _log.info(
            "The embedded PostgreSQL is running again after {secs:.1f} s",
            secs=self._started_at - ended_at,
        )

    @staticmethod
    def _log_failure(failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure(
                "The embedded PostgreSQL is no longer watched and won't be restarted", failure
            )
