"""What came in is done one after the other, and a bounded number waits."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from x121.ws.inbox import Inbox


class InboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.done: list[Any] = []
        self.waiting: list[Deferred[Any]] = []
        self.rooms = 0
        self.is_paused = False
        self.inbox = Inbox(self, self.room, max_bytes=100)

    def room(self) -> None:
        self.rooms += 1

    def assert_idle(self) -> None:
        """Fail unless what is put in now is done at once, and nothing waited before it."""
        count = len(self.done)
        self.put("idle")
        self.assertEqual(self.done[count:], ["idle"])
        self.done.pop()

    def put(self, name: object, size: int = 0, ready: bool = True) -> None:
        """Put something in that notes its name, and waits unless it is ``ready``."""

        def work(name: object) -> Deferred[Any] | None:
            self.done.append(name)
            if ready:
                return None
            self.waiting.append(Deferred())
            return self.waiting[-1]

        self.inbox.put(work, name, size)

    def test_at_once(self) -> None:
        """What is ready is done at once, and leaves nothing."""
        self.put(1)
        self.put(2)
        self.assertEqual(self.done, [1, 2])
        self.assert_idle()

    def test_one_at_a_time(self) -> None:
        """The next is begun when the one before it is done."""
        for number in range(3):
            self.put(number, ready=False)
        for number in range(3):
            self.assertEqual(self.done, list(range(number + 1)))
            self.waiting[number].callback(None)
        self.assert_idle()

    def test_fired_already(self) -> None:
        """A Deferred that has fired is no reason to wait, one that is chained is."""
        inner: Deferred[Any] = Deferred()
        self.inbox.put(succeed)
        self.put("next")
        self.inbox.put(lambda _: succeed(None).addCallback(lambda _: inner))
        self.put("last")
        self.assertEqual(self.done, ["next"])
        inner.callback(None)
        self.assertEqual(self.done, ["next", "last"])

    def test_many_that_are_ready(self) -> None:
        """Thousands that waited are done without growing the stack."""
        self.put("slow", ready=False)
        for number in range(5000):
            self.inbox.put(self.done.append, number)
        for _ in range(5000):
            self.inbox.put(succeed)
        self.put("last")
        self.waiting[0].callback(None)
        self.assertEqual(self.done, ["slow", *range(5000), "last"])

    def test_put_in_meanwhile(self) -> None:
        """What is put in by what is being done waits until that is done."""

        def work(_: object) -> None:
            self.put("inner")
            self.done.append("outer")

        self.inbox.put(work)
        self.assertEqual(self.done, ["outer", "inner"])

    def test_not_yet(self) -> None:
        """Nothing is begun until it may be, and what is being done goes on."""
        self.put(1, ready=False)
        self.is_paused = True
        self.put(2)
        self.waiting[0].callback(None)
        self.put(3)
        self.inbox.go_on()
        self.assertEqual(self.done, [1])
        self.is_paused = False
        self.inbox.go_on()
        self.assertEqual(self.done, [1, 2, 3])

    def test_in_a_hurry(self) -> None:
        """Who closes doesn't wait until what was sent is read, but nothing is done once closed."""
        self.is_paused = True
        self.put(1)
        self.inbox.hurry()
        self.put(2)
        self.assertEqual(self.done, [1, 2])
        self.inbox.close()
        self.inbox.hurry()
        self.put(3)
        self.assertEqual(self.done, [1, 2])

    def test_canceller_fails(self) -> None:
        """What fails to be cancelled is logged."""

        def fail(_: object) -> None:
            raise RuntimeError("no")

        doing: Deferred[Any] = Deferred(fail)
        self.inbox.put(lambda _: doing)
        self.inbox.close()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_full(self) -> None:
        """It is full with 16 that wait, or with their bytes, and says when there is room."""
        self.put("slow", ready=False)
        for number in range(16):
            self.assertFalse(self.inbox.is_full)
            self.put(number, ready=False)
        self.assertTrue(self.inbox.is_full)
        self.assertEqual(self.rooms, 0)
        self.waiting[0].callback(None)
        self.assertEqual((self.rooms, self.inbox.is_full), (1, False))

    def test_full_of_bytes(self) -> None:
        """What is being done doesn't count."""
        self.put("slow", 1000, ready=False)
        self.assertFalse(self.inbox.is_full)
        self.put(1, 60)
        self.assertFalse(self.inbox.is_full)
        self.put(2, 60)
        self.assertTrue(self.inbox.is_full)

    def test_full_to_the_byte(self) -> None:
        """It is full at its limit, not below; what has no size takes no room."""
        self.put("slow", ready=False)
        self.put(1, 99)
        self.inbox.put(lambda _: None)
        self.assertFalse(self.inbox.is_full)
        self.put(2, 1)
        self.assertTrue(self.inbox.is_full)

    def test_still_full(self) -> None:
        """While what is left is too much there is no room."""
        self.put("slow", ready=False)
        for number in range(2):
            self.put(number, 100, ready=False)
        self.waiting[0].callback(None)
        self.assertEqual((self.rooms, self.inbox.is_full), (0, True))
        self.waiting[1].callback(None)
        self.assertEqual((self.rooms, self.inbox.is_full), (1, False))

    def test_forget(self) -> None:
        """What waits can be forgotten, which makes room; what is being done goes on."""
        for number in range(17):
            self.put(number, ready=False)
        self.inbox.forget()
        self.assertEqual((self.rooms, self.inbox.is_full), (1, False))
        self.waiting[0].callback(None)
        self.assertEqual(self.done, [0])
        self.assert_idle()

    def test_forgotten_bytes(self) -> None:
        """The bytes of what was forgotten take no room."""
        self.put("slow", ready=False)
        self.put("next", 100)
        self.assertTrue(self.inbox.is_full)
        self.inbox.forget()
        self.put("last", 99)
        self.assertFalse(self.inbox.is_full)
        self.waiting[0].callback(None)
        self.assert_idle()

    def test_close(self) -> None:
        """What is being done is cancelled, and what waits forgotten."""
        cancelled: list[object] = []
        doing: Deferred[Any] = Deferred(cancelled.append)
        self.inbox.put(lambda _: doing)
        self.put("next")
        self.inbox.close()
        self.assertEqual((cancelled, self.done), ([doing], []))
        self.inbox.close()

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["ready", "slow", "fire"]), max_size=60))
    def test_any_order(self, steps: list[str]) -> None:
        """Whatever is put in whenever, it is done in its order, and nothing twice."""
        self.setUp()
        fired = 0
        for number, step in enumerate(steps):
            if step == "fire":
                if fired < len(self.waiting):
                    fired += 1
                    self.waiting[fired - 1].callback(None)
            else:
                self.put(number, ready=step == "ready")
        while fired < len(self.waiting):
            fired += 1
            self.waiting[fired - 1].callback(None)
        expected = [number for number, step in enumerate(steps) if step != "fire"]
        self.assertEqual(self.done, expected)
