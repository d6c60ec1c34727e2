"""Deadlines, on a clock that is told the time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from x121.core.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """``Deadlines`` of ten seconds."""

    def setUp(self) -> None:
        """Note what expires, and when."""
        self.clock = Clock()
        self.expired: list[tuple[str, float]] = []
        self.deadlines: Deadlines[str] = Deadlines(10, self.expire, clock=self.clock)

    def expire(self, key: str) -> None:
        """Note that ``key`` expired."""
        self.expired.append((key, self.clock.seconds()))

    def test_expires(self) -> None:
        """A key expires at its time, and once."""
        self.deadlines.start("a")
        self.assertEqual(len(self.deadlines), 1)
        self.clock.advance(9.99)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.01)
        self.assertEqual(self.expired, [("a", 10)])
        self.clock.advance(100)
        self.assertEqual((len(self.expired), len(self.deadlines)), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """A key that is stopped doesn't expire, and no timer is left; it may be stopped again."""
        self.deadlines.start("a")
        self.deadlines.stop("a")
        self.assertEqual((len(self.deadlines), self.clock.getDelayedCalls()), (0, []))
        self.deadlines.stop("a")
        self.clock.advance(100)
        self.assertEqual(self.expired, [])

    def test_started_again(self) -> None:
        """A key that is started again has all its time again."""
        self.deadlines.start("a")
        self.clock.advance(5)
        self.deadlines.start("a")
        self.assertEqual(len(self.deadlines), 1)
        self.clock.advance(9)
        self.assertEqual(self.expired, [])
        self.clock.advance(1)
        self.assertEqual(self.expired, [("a", 15)])

    def test_one_timer(self) -> None:
        """However many keys there are, there is one timer, and each expires at its own time."""
        for key in "abc":
            self.deadlines.start(key)
            self.clock.advance(1)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.deadlines.stop("a")
        self.clock.pump([1] * 20)
        self.assertEqual(self.expired, [("b", 11), ("c", 12)])

    def test_one_stops_another(self) -> None:
        """A key that is stopped while another expires at the same time doesn't expire."""
        deadlines: Deadlines[str]

        def expire(key: str) -> None:
            self.expire(key)
            deadlines.stop("b")

        deadlines = Deadlines(10, expire, clock=self.clock)
        for key in "abc":
            deadlines.start(key)
        self.clock.advance(10)
        self.assertEqual(self.expired, [("a", 10), ("c", 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_started_again_as_it_expires(self) -> None:
        """A key that is started as it expires gets a new deadline, and delays no other's."""
        deadlines: Deadlines[str]

        def expire(key: str) -> None:
            self.expire(key)
            if len(self.expired) == 1:
                deadlines.start(key)

        deadlines = Deadlines(10, expire, clock=self.clock)
        deadlines.start("a")
        self.clock.advance(1)
        deadlines.start("b")
        self.clock.pump([1] * 30)
        self.assertEqual(self.expired, [("a", 10), ("b", 11), ("a", 20)])

    def test_a_failure_delays_nobody(self) -> None:
        """When acting on a deadline fails, the others expire all the same."""

        def fail(key: str) -> None:
            self.expire(key)
            if key == "a":
                raise ZeroDivisionError

        deadlines: Deadlines[str] = Deadlines(10, fail, clock=self.clock)
        deadlines.start("a")
        deadlines.start("b")
        self.clock.advance(1)
        deadlines.start("c")
        self.assertRaises(ZeroDivisionError, self.clock.advance, 9)
        self.clock.pump([0, 1])
        self.assertEqual(self.expired, [("a", 10), ("b", 10), ("c", 11)])

    @given(st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from("abcd"), st.integers(0, 12))))
    def test_as_single_timers(self, steps: list[tuple[str, str, int]]) -> None:
        """Any sequence of starts and stops gives what a timer for every key would."""
        clock = Clock()
        expired: list[tuple[float, str]] = []
        expected: list[tuple[float, str]] = []
        timers: dict[str, IDelayedCall] = {}
        deadlines: Deadlines[str] = Deadlines(
            10, lambda key: expired.append((clock.seconds(), key)), clock=clock
        )
        for what, key, seconds in steps:
            timer = timers.pop(key, None)
            if timer is not None and timer.active():
                timer.cancel()
            if what == "+":
                deadlines.start(key)
                timers[key] = clock.callLater(10, expected.append, (clock.seconds() + 10, key))
            else:
                deadlines.stop(key)
            clock.pump([1] * seconds)
        clock.pump([1] * 12)
        self.assertEqual(sorted(expired), sorted(expected))
        self.assertEqual(clock.getDelayedCalls(), [])
