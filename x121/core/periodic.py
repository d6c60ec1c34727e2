"""Periodic tasks that run while the server runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["PeriodicTask"]

_log = Logger()


class PeriodicTask(Service):
    """Service that calls ``call`` every ``seconds``, first after the first ``seconds``.

    Unlike :class:`~twisted.application.internet.TimerService` it survives an exception: that is
    logged, and the next call is made when it is due.  Calls never overlap.
    """

    def __init__(self, seconds: float, call: Callable[[], object], *, clock: IReactorTime) -> None:
        if not seconds > 0:
            raise ValueError(f"invalid interval: {seconds} s (expected more than 0)")
        self.name = getattr(call, "__qualname__", repr(call))
        self._seconds = seconds
        self._call = call
        self._current: Deferred[None] = succeed(None)
        self._looping = LoopingCall(self._run)
        self._looping.clock = clock

    def startService(self) -> None:
        """Start the first interval."""
        super().startService()
        self._looping.start(self._seconds, now=False)

    def stopService(self) -> Deferred[None]:
        """Make no more calls, and cancel the current one; fires when that has ended."""
        super().stopService()
        if self._looping.running:
            self._looping.stop()
        self._current.cancel()
        return self._current

    def _run(self) -> Deferred[None]:
        self._current = ensureDeferred(self._attempt())
        return self._current

    async def _attempt(self) -> None:
        try:
            result = self._call()
            if isinstance(result, Awaitable):
                await result
        except CancelledError:
            if self.running:
                _log.failure("The periodic task {task} was cancelled", task=self.name)
        except Exception:
            _log.failure("The periodic task {task} failed", task=self.name)
