"""The server's life: components that start one after the other, and stop in reverse, in time.

.. code-block:: text

    start    database -> threads -> migrations -> pool -> features -> connections
    drain    database -> threads -> migrations -> pool -> features -> connections
    stop     database <- threads <- migrations <- pool <- features <- connections

:mod:`x121.runtime.server` has the list; :mod:`x121.runtime.components`,
:mod:`x121.runtime.embedded` and :mod:`x121.runtime.connections` have the components.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Budget", "Component", "Components", "run_stage"]

_log = Logger(namespace="x121.runtime.lifecycle")


class Budget:
    """The time that a shutdown may take: ``seconds`` from now on, for all of its stages."""

    def __init__(self, seconds: float, clock: IReactorTime) -> None:
        self._clock = clock
        self._began = clock.seconds()
        self._end = self._began + seconds

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._end - self._clock.seconds())

    @property
    def spent(self) -> float:
        """The seconds since the beginning."""
        return self._clock.seconds() - self._began

    async def run(self, work: Deferred[Any], reserve: float = 0.0) -> bool:
        """Wait for ``work``; cancel it at the end of the budget, or ``reserve`` seconds before.

        Returns whether it completed.
        """
        timer = self._clock.callLater(max(0.0, self.left - reserve), work.cancel)
        try:
            await work
        except CancelledError:
            return False
        finally:
            if timer.active():
                timer.cancel()
        return True


class Component:
    """Base class of the parts of a server that start and stop.

    ``name`` is for the log.  Attributes that other components need are set by :meth:`start`:
    those components come later in the list, so they find them.
    """

    name: str
    is_started = False
    """Set before :meth:`start`.  A component that runs by itself sets it in its class."""

    async def start(self) -> None:
        """Start.  May raise, and may be cancelled."""

    async def drain(self, budget: Budget) -> None:
        """Begin no more work, and finish what is under way.  Everything else still runs."""

    async def stop(self, budget: Budget) -> None:
        """Stop, also after a start that has failed or was cancelled half-way."""


class Components:
    """The components of a server, each after those that it needs."""

    def __init__(self, components: Sequence[Component]) -> None:
        self._components = components
        self._starting: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Start one component after the other.

        The first one that fails ends the start; those before it run on until :meth:`stop`.
        """
        self._starting = ensureDeferred(self._start())
        return self._starting

    async def _start(self) -> None:
        for component in self._components:
            component.is_started = True
            if _has_stage(component, "start"):
                _log.debug("Stage: {stage}", stage=f"start {component.name}")
                await component.start()

    async def stop(self, budget: Budget) -> None:
        """Drain the components in their order, then stop them in reverse.

        A start that is under way is cancelled, and waited for, before that.  Components whose
        start was never begun are left alone.
        """
        starting = self._starting
        if starting is not None and not starting.called:
            await run_stage("cancel the start", partial(_cancel, starting, budget))
        started = [component for component in self._components if component.is_started]
        for component in started:
            if _has_stage(component, "drain"):
                await run_stage(f"drain {component.name}", partial(component.drain, budget))
        for component in reversed(started):
            if _has_stage(component, "stop"):
                await run_stage(f"stop {component.name}", partial(component.stop, budget))


def _has_stage(component: Component, stage: str) -> bool:
    """Return whether a component does anything in a stage; the log is silent of it otherwise."""
    return getattr(type(component), stage) is not getattr(Component, stage)


async def _cancel(starting: Deferred[None], budget: Budget) -> None:
    starting.cancel()
    await budget.run(starting)


async def run_stage(name: str, stage: Callable[[], Awaitable[None]]) -> None:
    """Run one stage of a shutdown.  Its failure is logged: it must not prevent the next ones."""
    _log.debug("Stage: {stage}", stage=name)
    try:
        await stage()
    except Exception:
        _log.failure("Failed to {stage}", stage=name)
