"""How the server ends: on which signals, in which stages, and with which exit code.

A first SIGTERM or SIGINT stops the reactor, which stops the service, which runs the stages
here one after the other under one budget.  A second signal ends the process at once.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, Protocol

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from x121.app_state import Lifecycle, Stage
from x121.db.embedded import EmbeddedPostgres
from x121.db.pool import Pool
from x121.http.site import Site

__all__ = ["Report", "Running", "Shutdown", "Signals", "exit_with"]

_log = Logger(namespace="x121.shutdown")


@dataclass
class Running:
    """What is running and has to be stopped.  A boot that failed half-way left some None."""

    lifecycle: Lifecycle
    booting: Deferred[None] | None = None
    embedded: EmbeddedPostgres | None = None
    pool: Pool | None = None
    site: Site | None = None
    port: IListeningPort | None = None


@dataclass(frozen=True)
class Report:
    """How a shutdown went; ``seconds`` is how long it took."""

    requests_drained: int
    requests_dropped: int
    websockets_closed: int
    websockets_dropped: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 1 where something had to be dropped."""
        return 1 if self.requests_dropped or self.websockets_dropped else 0


class Shutdown:
    """Stops ``running`` in ``budget_secs``; what is left then is cancelled and dropped."""

    def __init__(self, running: Running, *, budget_secs: float, clock: IReactorTime) -> None:
        self._running = running
        self._clock = clock
        self._begun = clock.seconds()
        self._end = self._begun + budget_secs
        self._requests_drained = 0
        self._requests_dropped = 0

    async def run(self) -> Report:
        """Run every stage, and return what came of it."""
        self._running.lifecycle.stage = Stage.DRAINING
        await self._stage("stop starting", self._stop_booting)
        await self._stage("stop listening", self._stop_listening)
        await self._stage("drain requests", self._drain_requests)
        await self._stage("close the pool", self._close_pool)
        await self._stage("stop the embedded PostgreSQL", self._stop_embedded)
        return Report(
            requests_drained=self._requests_drained,
            requests_dropped=self._requests_dropped,
            websockets_closed=0,
            websockets_dropped=0,
            seconds=round(self._clock.seconds() - self._begun, 3),
        )

    async def _stage(self, name: str, stage: Callable[[], Awaitable[None]]) -> None:
        _log.debug("Stage: {stage}", stage=name)
        try:
            await stage()
        except Exception:
            # A stage that fails must not keep those after it from running.
            _log.failure("Failed to {stage}", stage=name)

    async def _stop_booting(self) -> None:
        """Cancel a start that is under way, and wait until it has undone what it began."""
        booting = self._running.booting
        if booting is not None:
            booting.cancel()
            await self._within_budget(booting)

    async def _stop_listening(self) -> None:
        if self._running.port is not None:
            await self._within_budget(_as_deferred(self._running.port.stopListening()))

    async def _drain_requests(self) -> None:
        if self._running.site is None:
            return
        await self._within_budget(self._running.site.drain())
        # Counted before the rest is cancelled: an answer that comes of that reaches nobody.
        self._requests_drained = self._running.site.requests_drained
        self._requests_dropped = self._running.site.drop()

    async def _close_pool(self) -> None:
        if self._running.pool is not None:
            await self._within_budget(ensureDeferred(self._running.pool.stop()))

    async def _stop_embedded(self) -> None:
        embedded = self._running.embedded
        if embedded is None:
            return
        if not await self._within_budget(ensureDeferred(embedded.stop())):
            embedded.interrupt()

    async def _within_budget(self, work: Deferred[Any]) -> bool:
        """Wait for ``work``; cancel it at the end of the budget.  Return whether it got done."""
        timer = self._clock.callLater(max(0.0, self._end - self._clock.seconds()), work.cancel)
        try:
            await work
        except CancelledError:
            return False
        finally:
            if timer.active():
                timer.cancel()
        return True


def _as_deferred(result: Any) -> Deferred[Any]:
    if isinstance(result, Deferred):
        return result
    done: Deferred[Any] = Deferred()
    done.callback(result)
    return done


# --- signals and the exit code ------------------------------------------------------------


class _Reactor(Protocol):
    def callFromThread(self, call: Callable[..., Any], *args: Any) -> Any: ...
    def stop(self) -> None: ...


class Signals:
    """SIGTERM and SIGINT: the first one stops ``reactor``, a second one ends the process.

    So does SIGHUP, which comes when a terminal is closed, unless whoever started us (nohup) has
    it ignored: an embedded PostgreSQL would be left behind.  ``last_words`` is called just
    before an end at once.
    """

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, reactor: _Reactor, *, last_words: Callable[[], object]) -> None:
        self._reactor = reactor
        self._last_words = last_words
        self._first: str | None = None

    def install(self) -> None:
        """Take the signals over from the reactor, whose handlers don't count them."""
        for number in self._NUMBERS:
            signal.signal(number, self._received)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._received)

    def _received(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._first is not None:
            _log.warn("Received {signal} again: exiting at once", signal=name)
            self._last_words()
            os._exit(1)
        self._first = name
        # A signal handler may run between any two instructions: the rest is for the reactor.
        self._reactor.callFromThread(self._stop, name)

    def _stop(self, name: str) -> None:
        _log.info("Received {signal}, shutting down", signal=name)
        self._reactor.stop()


def exit_with(code: int, *, last_words: Callable[[], object]) -> None:
    """Let the process end with ``code`` once the reactor has stopped.

    twistd returns 0 however its application ended, and asks nobody.  What it does after the
    reactor's end (removing its PID file) still happens.
    """

    def leave() -> NoReturn:
        last_words()
        os._exit(code)

    if code:
        atexit.register(leave)
