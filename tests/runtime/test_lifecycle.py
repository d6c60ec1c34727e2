"""Components: started in their order, drained, and stopped in reverse, under one budget."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from x121.runtime.lifecycle import Budget, Component, Components
from x121.testing import App


class Noting(Component):
    """Notes its stages in ``notes``; those in ``wait`` wait for what that returns."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self._notes = notes
        self.wait: dict[str, Callable[[], Deferred[None]]] = {}

    async def start(self) -> None:
        await self._stage("start")

    async def drain(self, budget: Budget) -> None:
        await self._stage("drain")

    async def stop(self, budget: Budget) -> None:
        await self._stage("stop")

    async def _stage(self, stage: str) -> None:
        self._notes.append(f"{stage} {self.name}")
        try:
            if stage in self.wait:
                await self.wait[stage]()
        except CancelledError:
            self._notes.append(f"cancelled {stage} {self.name}")
            raise


def fail() -> Deferred[None]:
    raise RuntimeError("a fault")


class ComponentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a list of three components."""
        self.clock = Clock()
        self.notes: list[str] = []
        self.a, self.b, self.c = (Noting(name, self.notes) for name in "abc")
        self.components = Components([self.a, self.b, self.c])

    def stop(self, seconds: float = 10.0) -> Deferred[None]:
        """Begin to stop; what was noted before is forgotten."""
        self.notes.clear()
        return Deferred.fromCoroutine(self.components.stop(Budget(seconds, self.clock)))

    def test_order(self) -> None:
        """Components start and drain in their order, and stop in reverse."""
        self.successResultOf(self.components.start())
        self.assertEqual(self.notes, ["start a", "start b", "start c"])
        self.successResultOf(self.stop())
        drained = ["drain a", "drain b", "drain c"]
        self.assertEqual(self.notes, [*drained, "stop c", "stop b", "stop a"])

    def test_one_after_the_other(self) -> None:
        """Each waits for the one before it, in both directions."""
        self.b.wait = {"start": lambda: deferLater(self.clock, 1)}
        self.c.wait = {"drain": lambda: deferLater(self.clock, 1)}
        starting = self.components.start()
        self.assertEqual(self.notes, ["start a", "start b"])
        self.clock.advance(1)
        self.successResultOf(starting)
        self.assertEqual(self.notes[2:], ["start c"])
        stopping = self.stop()
        self.assertEqual(self.notes, ["drain a", "drain b", "drain c"])
        self.clock.advance(1)
        self.successResultOf(stopping)
        self.assertEqual(self.notes[3:], ["stop c", "stop b", "stop a"])

    def test_never_started(self) -> None:
        """Components that were never started are left alone, except one that runs by itself."""
        self.a.is_started = True
        self.successResultOf(self.stop())
        self.assertEqual(self.notes, ["drain a", "stop a"])

    def test_start_that_fails(self) -> None:
        """The start ends at the one that fails; that one and those before it are stopped."""
        self.b.wait = {"start": fail}
        self.failureResultOf(self.components.start(), RuntimeError)
        self.assertEqual(self.notes, ["start a", "start b"])
        self.successResultOf(self.stop())
        self.assertEqual(self.notes, ["drain a", "drain b", "stop b", "stop a"])

    def test_stop_while_starting(self) -> None:
        """A stop cancels the start, and waits until it has undone what it began."""
        undone: Deferred[None] = Deferred()

        async def start() -> None:
            try:
                await Deferred()
            finally:
                await undone

        self.b.wait = {"start": lambda: Deferred.fromCoroutine(start())}
        starting = self.components.start()
        starting.addErrback(lambda failure: failure.trap(CancelledError) and None)
        stopping = self.stop()
        self.assertEqual(self.notes, [])
        undone.callback(None)
        self.successResultOf(stopping)
        stages = ["drain a", "drain b", "stop b", "stop a"]
        self.assertEqual(self.notes, ["cancelled start b", *stages])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stage_that_fails(self) -> None:
        """A stage that fails is logged by its name, and the others run."""
        self.successResultOf(self.components.start())
        self.a.wait = {"drain": fail}
        self.c.wait = {"stop": fail}
        with App() as app:
            self.successResultOf(self.stop())
        self.assertEqual(self.notes[-3:], ["stop c", "stop b", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        messages = [line["message"] for line in app.log if "traceback" in line]
        self.assertEqual(messages, ["Failed to drain a", "Failed to stop c"])

    def test_log(self) -> None:
        """The log has each stage at debug, but for stages in which a component does nothing."""
        self.components = Components([Component(), self.a, self.b, self.c])
        with App() as app:
            self.successResultOf(self.components.start())
            self.successResultOf(self.stop())
        lines = [line for line in app.lines("x121.runtime.lifecycle") if line["level"] == "debug"]
        stages = [line["stage"] for line in lines]
        self.assertEqual(stages[:3], ["start a", "start b", "start c"])
        self.assertEqual(stages[3:], self.notes)


class BudgetTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a budget of ten seconds."""
        self.clock = Clock()
        self.budget = Budget(10, self.clock)

    def run_within(self, work: Deferred[None], reserve: float = 0.0) -> Deferred[bool]:
        """Begin to wait for ``work``."""
        return Deferred.fromCoroutine(self.budget.run(work, reserve))

    def test_work_that_completes(self) -> None:
        """Work that completes in time is waited for, and no timer is left."""
        work: Deferred[None] = Deferred()
        running = self.run_within(work)
        self.clock.advance(9)
        self.assertNoResult(running)
        work.callback(None)
        self.assertIs(self.successResultOf(running), True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_work_that_takes_too_long(self) -> None:
        """It is cancelled at the end of the budget."""
        running = self.run_within(Deferred())
        self.clock.advance(10)
        self.assertIs(self.successResultOf(running), False)
        self.assertEqual((self.budget.left, self.budget.spent), (0, 10))

    def test_reserve(self) -> None:
        """With a reserve it is cancelled that much earlier."""
        running = self.run_within(Deferred(), 3)
        self.clock.advance(7)
        self.assertIs(self.successResultOf(running), False)
        self.assertEqual(self.budget.left, 3)

    def test_one_for_all(self) -> None:
        """All work shares the budget: what comes last has what the others have left of it."""
        self.clock.advance(8)
        running = self.run_within(Deferred())
        self.clock.advance(2)
        self.assertIs(self.successResultOf(running), False)

    def test_failure(self) -> None:
        """Work that fails raises, and no timer is left."""
        work: Deferred[None] = Deferred()
        running = self.run_within(work)
        work.errback(RuntimeError("a fault"))
        self.failureResultOf(running, RuntimeError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
