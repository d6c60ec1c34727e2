"""How the server ends: in stages, one after the other, under one budget.

A signal stops the reactor (:mod:`x121.runtime.signals`), which stops the service, which runs these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    ensureDeferred,
    gatherResults,
    maybeDeferred,
)
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from x121.application import Lifecycle, Stage
from x121.db.embedded import EmbeddedPostgres
from x121.db.pool import Pool
from x121.http.listening import stop_listening
from x121.http.site import Site
from x121.ws.manager import WsManager

__all__ = ["Report", "Running", "Shutdown"]

_log = Logger(namespace="x121.runtime.shutdown")

_THREADS_POLL_SECS = 0.02

# Of the budget, what is kept for the close handshakes of those who waited for answers till then.
_CLOSE_RESERVE = 0.2
_MAX_CLOSE_RESERVE_SECS = 2.0


@dataclass
class Running:
    """What is running and has to be stopped.  A boot that failed half-way left some None."""

    lifecycle: Lifecycle
    threads: ThreadPool
    booting: Deferred[None] | None = None
    embedded: EmbeddedPostgres | None = None
    pool: Pool | None = None
    ws_manager: WsManager | None = None
    site: Site | None = None
    services: MultiService | None = None
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
        self._websockets_closed = 0
        self._websockets_dropped = 0
        self.threads_left = 0
        """Threads that still worked at the end; the reactor would wait for them for ever."""

    async def run(self) -> Report:
        """Run every stage, and return what came of it."""
        self._running.lifecycle.stage = Stage.DRAINING
        await self._stage("stop starting", self._stop_booting)
        await self._stage("stop listening", self._stop_listening)
        # At the same time: one slow request must not take the time that the others need.
        await gatherResults(
            [
                ensureDeferred(self._stage("drain requests", self._drain_requests)),
                ensureDeferred(self._stage("close WebSockets", self._close_websockets)),
            ]
        )
        await self._stage("see off who was dropped", self._see_off)
        await self._stage("stop services", self._stop_services)
        await self._stage("close the pool", self._close_pool)
        await self._stage("finish threads", self._finish_threads)
        await self._stage("stop the embedded PostgreSQL", self._stop_embedded)
        return Report(
            requests_drained=self._requests_drained,
            requests_dropped=self._requests_dropped,
            websockets_closed=self._websockets_closed,
            websockets_dropped=self._websockets_dropped,
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
        """Cancel a start that is under way, and wait until it has undone what it began.

        An embedded PostgreSQL that dies from now on is not started again.
        """
        if self._running.embedded is not None:
            self._running.embedded.stop_watching()
        booting = self._running.booting
        if booting is not None:
            booting.cancel()
            await self._within_budget(booting)

    async def _stop_listening(self) -> None:
        if self._running.port is not None:
            await self._within_budget(stop_listening(self._running.port, clock=self._clock))

    async def _drain_requests(self) -> None:
        if self._running.site is None:
            return
        await self._within_budget(self._running.site.drain())
        self._requests_dropped = self._running.site.drop()
        self._requests_drained = self._running.site.requests_drained

    async def _close_websockets(self) -> None:
        manager = self._running.ws_manager
        if manager is None:
            return
        left = max(0.0, self._end - self._clock.seconds())
        reserve = min(_MAX_CLOSE_RESERVE_SECS, left * _CLOSE_RESERVE)
        leaving = ensureDeferred(manager.shutdown_all(left - reserve))
        try:
            if not await self._within_budget(leaving, reserve):
                await self._within_budget(ensureDeferred(manager.close()))
        finally:
            manager.drop()
            self._websockets_closed = manager.closed
            self._websockets_dropped = manager.dropped

    async def _see_off(self) -> None:
        """Let connections that are left end, which they do in the reactor's next turn.

        Each has its line in the log, and the report is the last one.
        """
        site = self._running.site
        if self._websockets_dropped or (site is not None and site.connections):
            await deferLater(self._clock, 0)

    async def _stop_services(self) -> None:
        """Stop what features have running, all at the same time."""
        stages = [
            self._stage(f"stop {type(service).__name__}", partial(self._stop_service, service))
            for service in self._running.services or ()
        ]
        await gatherResults(map(ensureDeferred, stages))

    async def _stop_service(self, service: IService) -> None:
        await self._within_budget(maybeDeferred(service.stopService))

    async def _close_pool(self) -> None:
        if self._running.pool is not None:
            await self._within_budget(ensureDeferred(self._running.pool.stop()))

    async def _finish_threads(self) -> None:
        """Wait for what handlers had deferred to threads, which can't be cancelled."""
        await self._within_budget(ensureDeferred(self._until_threads_idle()))
        self.threads_left = len(self._running.threads.working)
        if self.threads_left:
            _log.warn("{count} threads still work and are left", count=self.threads_left)

    async def _until_threads_idle(self) -> None:
        while self._running.threads.working:
            await deferLater(self._clock, _THREADS_POLL_SECS)

    async def _stop_embedded(self) -> None:
        embedded = self._running.embedded
        if embedded is None:
            return
        if not await self._within_budget(ensureDeferred(embedded.stop())):
            embedded.interrupt()

    async def _within_budget(self, work: Deferred[Any], reserve: float = 0.0) -> bool:
        """Wait for ``work``; cancel it at the end of the budget, or ``reserve`` seconds before.

        Returns whether it got done.
        """
        left = self._end - reserve - self._clock.seconds()
        timer = self._clock.callLater(max(0.0, left), work.cancel)
        try:
            await work
        except CancelledError:
            return False
        finally:
            if timer.active():
                timer.cancel()
        return True
