"""Delayed calls: the same as those of Twisted's reactors, whatever is done to them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.base import ReactorBase
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.reactor.reactors import REACTORS, logged, run
from x121.core.clocks import use_monotonic_clock
from x121.reactor.timers import DelayedCalls


class Handle:
    """What a loop returns for a callback."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """An event loop whose time stands still until it is advanced.

    As libuv it counts milliseconds, and so calls back up to one of them too early.
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.turns = 0
        self._soon: deque[Handle] = deque()
        self._later: list[Handle] = []

    def call_soon(self, callback: Callable[[], None], *, context: Context) -> Handle:
        assert context is not None
        self._soon.append(Handle(self.now, callback))
        return self._soon[-1]

    def call_later(self, delay: float, callback: Callable[[], None], *, context: Context) -> Handle:
        assert delay == round(delay, 3), "uvloop rounds what is no whole millisecond"
        self._later.append(Handle(self.now + delay, callback))
        return self._later[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass, and call back what is due then."""
        self.now += seconds
        while self._step():
            self.turns += 1

    def _step(self) -> bool:
        early = [one for one in self._later if one.due <= self.now + 0.0009]
        self._later = [one for one in self._later if one not in early]
        handles = [*sorted(early, key=lambda one: one.due), *self._soon]
        self._soon.clear()
        for handle in handles:
            if not handle.is_cancelled:
                handle.callback()
        return bool(handles) and (bool(self._soon) or self.is_waiting_for(self.now))

    def is_waiting_for(self, time: float) -> bool:
        """Whether a callback is due by ``time``."""
        return any(one.due <= time and not one.is_cancelled for one in self._later)

    @property
    def timers(self) -> int:
        """How many timers there are."""
        return sum(not one.is_cancelled for one in self._later)


class Ours:
    """The delayed calls of our reactor, on a loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.delayed = DelayedCalls(
            self.loop,  # type: ignore[arg-type]
            lambda: self.loop.now,
            lambda: self.delayed.run_due(),
        )

    def later(self, delay: float, function: Callable[[], None]) -> Any:
        return self.delayed.add(delay, function, (), {})

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.delayed.run_due()  # as if the loop counted more than milliseconds
        self.loop.advance(0)

    def tick(self) -> None:
        """Let some time pass, so that no two calls are due at the same."""
        self.loop.now += 1e-6

    def pending(self) -> list[Any]:
        return self.delayed.pending()


class Stock(ReactorBase):
    """Those of Twisted's reactors."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        super().__init__()

    def installWaker(self) -> None:
        pass

    def seconds(self) -> float:
        return self.now

    def later(self, delay: float, function: Callable[[], None]) -> Any:
        return self.callLater(delay, function)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.runUntilCurrent()
        while self.timeout() == 0:
            self.runUntilCurrent()

    def tick(self) -> None:
        self.now += 1e-6

    def pending(self) -> list[Any]:
        return list(self.getDelayedCalls())


Step = tuple[str, float, int]
DELAYS = st.sampled_from([0.0, 0.0, 0.0004, 0.5, 1.0, 60.0]) | st.integers(0, 1_000_000).map(
    lambda number: number / 10_000
)
STEPS = st.tuples(
    st.sampled_from(["add", "add", "chain", "cancel", "reset", "delay", "hasten", "advance"]),
    DELAYS,
    st.integers(0, 30),
)


def play(timers: Any, steps: list[Step]) -> list[Any]:
    """Return what is called and what is left, step by step."""
    calls: list[Any] = []
    seen: list[Any] = []

    def add(delay: float, then: Callable[[], None] = lambda: None) -> None:
        name = len(calls)

        def called() -> None:
            seen.append(("called", name))
            then()

        timers.tick()
        calls.append(timers.later(delay, called))

    for kind, seconds, number in steps:
        timers.tick()
        call = calls[number % len(calls)] if calls else None
        if kind == "add":
            add(seconds)
        elif kind == "chain":
            add(seconds, lambda delay=seconds: add(delay))  # type: ignore[misc]
        elif kind == "advance":
            timers.advance(seconds)
        elif call is not None and call.active():
            change(call, kind, seconds)
        seen.append(sorted((calls.index(one), round(one.getTime(), 7)) for one in timers.pending()))
    timers.advance(1000.0)
    return seen


def change(call: Any, kind: str, seconds: float) -> None:
    """Do to ``call`` what is called ``kind``."""
    if kind == "cancel":
        call.cancel()
    elif kind == "reset":
        call.reset(seconds)
    elif kind == "delay":
        call.delay(seconds)
    elif kind == "hasten":
        call.delay(-seconds)


class SameCallsTests(SynchronousTestCase):
    """Beside Twisted's."""

    @settings(max_examples=400, deadline=None)
    @given(st.lists(STEPS, max_size=25))
    def test_same_calls(self, steps: list[Step]) -> None:
        """The same calls are made, in the same order and turn, and the same are left."""
        self.assertEqual(play(Ours(), steps), play(Stock(), steps))

    def test_same_time(self) -> None:
        """Calls that are due at the same time are made in the order in which they were added."""
        ours = Ours()
        made: list[int] = []
        for number in range(50):
            ours.later(1.0, lambda number=number: made.append(number))  # type: ignore[misc]
        ours.advance(1.0)
        self.assertEqual(made, list(range(50)))


class DelayedCallsTests(SynchronousTestCase):
    """On their own."""

    def test_never_early(self) -> None:
        """A call is made when its time has come, though the loop may call back before."""
        ours = Ours()
        made: list[float] = []
        for delay in (0.0001, 0.0004, 0.0005, 0.0006, 0.001, 0.0014999, 0.0015, 1.2345678):
            due = ours.loop.now + delay
            ours.later(delay, lambda due=due: made.append(ours.loop.now - due))  # type: ignore[misc]
        for _ in range(15_000):
            ours.loop.advance(0.0001)
        self.assertEqual(len(made), 8)
        self.assertGreaterEqual(min(made), 0)
        self.assertLess(max(made), 0.0011, "and not later than the loop can tell")

    def test_chain(self) -> None:
        """A call that is added by another one waits for the next turn, however fast the clock."""
        ours = Ours()
        made: list[int] = []

        def again() -> None:
            made.append(1)
            ours.later(0, again)

        ours.later(0, again)
        for turn in range(1, 5):
            ours.delayed.run_due()
            self.assertEqual(len(made), turn)

    def test_interface(self) -> None:
        """Calls are what Twisted says they are, and raise what it says."""
        ours = Ours()
        call = ours.later(1, lambda: None)
        self.assertTrue(verifyObject(IDelayedCall, call))
        self.assertEqual(call.getTime(), ours.loop.now + 1)
        call.cancel()
        for change in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
            self.assertRaises(AlreadyCancelled, change)
        done = ours.later(0, lambda: None)
        ours.advance(0)
        self.assertFalse(done.active())
        for change in (done.cancel, lambda: done.reset(1), lambda: done.delay(1)):
            self.assertRaises(AlreadyCalled, change)
        self.assertEqual(ours.pending(), [])

    def test_failing_call(self) -> None:
        """A call that raises is logged, and keeps no other one from being made."""
        ours = Ours()
        made: list[int] = []
        ours.later(0, lambda: made.append(1 // 0))
        ours.later(0, lambda: made.append(1))
        ours.advance(0)
        self.assertEqual(made, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_timer(self) -> None:
        """However many calls there are, the loop has one timer, for the first of them."""
        ours = Ours()
        for delay in (50, 10, 30, 20, 1, 40):
            ours.later(delay, lambda: None)
        self.assertEqual(ours.loop.timers, 1)
        self.assertTrue(ours.loop.is_waiting_for(ours.loop.now + 1.0001))
        self.assertEqual(ours.delayed.until_next(), 1)
        ours.advance(1)
        self.assertEqual((ours.loop.timers, ours.delayed.until_next()), (1, 9))
        ours.advance(100)
        self.assertEqual((ours.loop.timers, ours.delayed.until_next()), (0, None))
        self.assertLess(ours.loop.turns, 20, "it doesn't turn for nothing")

    def test_very_long_delays(self) -> None:
        """A delay may be as long as somebody likes, or for ever."""
        ours = Ours()
        made: list[str] = []
        ours.later(1e9, lambda: made.append("long"))
        ours.later(float("inf"), lambda: made.append("never"))
        for _ in range(100):
            ours.advance(1e8)
        self.assertEqual(made, ["long"])

    def test_cancelled_calls_take_no_room(self) -> None:
        """Calls that are cancelled or moved again and again are not kept until their time."""
        ours = Ours()
        lasting = ours.later(1e6, lambda: None)
        for _ in range(10_000):
            ours.later(1000, lambda: None).cancel()
        for number in range(10_000):
            lasting.reset(1e6 - number)
        self.assertLess(len(ours.delayed._heap), 200)
        self.assertEqual(ours.pending(), [lasting])


def test_on_a_reactor(kind: str) -> None:
    """On a real reactor: in order, never early, and one that raises is logged."""

    async def scenario(reactor: Any) -> tuple[list[float], list[float]]:
        order: list[float] = []
        early: list[float] = []

        def called(delay: float, due: float) -> None:
            order.append(delay)
            early.append(min(0.0, reactor.seconds() - due))

        delays = [0.03, 0.0, 0.0101, 0.0001, 0.0016, 0.02, 0.0]
        for delay in delays:
            reactor.callLater(delay, called, delay, due=reactor.seconds() + delay)
        reactor.callLater(0, lambda: 1 // 0)
        assert len(reactor.getDelayedCalls()) >= len(delays)
        await deferLater(reactor, 0.04)
        return order, early

    with logged() as failures:
        order, early = run(kind, scenario)
    assert order == sorted(order)
    assert early == [0.0] * 7
    assert failures == [ZeroDivisionError]


# --- on a reactor ---------------------------------------------------------------------------


def test_monotonic_clock(kind: str) -> None:
    """A reactor waits by a clock that nobody sets: ours always, Twisted's where it is told to."""

    async def scenario(reactor: Any) -> list[float]:
        before = time.monotonic()
        call = reactor.callLater(1, lambda: None)
        due = call.getTime() - 1
        call.cancel()
        return sorted([before, due, reactor.seconds()])

    make = REACTORS[kind]

    def told() -> Any:
        reactor = make()
        if kind == "stock":
            use_monotonic_clock(reactor)
        return reactor

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REACTORS, kind, told)
        before, due, after = run(kind, scenario)
    assert before <= due <= after <= time.monotonic()
