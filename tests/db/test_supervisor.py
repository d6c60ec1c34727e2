"""When a server that has ended by itself is started again."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from x121.db.embedded.supervisor import Supervisor


class SupervisorTests(SynchronousTestCase):
    """``Supervisor``, over a server that lives in a variable."""

    def setUp(self) -> None:
        """Watch a server that runs."""
        self.clock = Clock()
        self.running = True
        self.fails = 0
        self.attempts: list[float] = []
        self.held: Deferred[None] | None = None
        self.supervisor = Supervisor(
            is_running=self.is_running, restart=self.restart, clock=self.clock
        )
        self.supervisor.start()

    async def is_running(self) -> bool:
        """Return what the variable says."""
        return self.running

    async def restart(self) -> None:
        """Note the time, and succeed once ``fails`` attempts have failed."""
        self.attempts.append(self.clock.seconds())
        if self.held is not None:
            await self.held
        self.fails -= 1
        if self.fails >= 0:
            raise RuntimeError("no space left")
        self.running = True

    def pass_seconds(self, seconds: int) -> None:
        """Let time pass, turn by turn."""
        self.clock.pump([0.5] * (2 * seconds))

    def stop(self) -> None:
        """Stop watching, and hold that nothing is left in the reactor."""
        self.successResultOf(Deferred.fromCoroutine(self.supervisor.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_runs(self) -> None:
        """A server that runs is left alone."""
        self.pass_seconds(100)
        self.assertEqual(self.attempts, [])
        self.stop()

    def test_restart(self) -> None:
        """One that has ended is started within a second."""
        self.pass_seconds(100)
        self.running = False
        self.pass_seconds(2)
        (attempt,) = self.attempts
        self.assertLessEqual(attempt, 101)
        self.stop()

    def test_backs_off(self) -> None:
        """Attempts that fail are repeated after 1, 2, 4 seconds and so on, and 30 at most."""
        self.pass_seconds(100)
        self.running, self.fails = False, 7
        self.pass_seconds(150)
        delays = [b - a for a, b in zip(self.attempts, self.attempts[1:], strict=False)]
        self.assertEqual(delays, [1, 2, 4, 8, 16, 30, 30])
        self.assertTrue(self.running)
        self.stop()

    def test_crash_loop(self) -> None:
        """A server that ends as soon as it runs is started ever more rarely."""
        self.pass_seconds(100)
        for _ in range(20):
            self.running = False
            self.pass_seconds(5)
        self.assertLess(len(self.attempts), 8)
        self.pass_seconds(100)
        self.attempts.clear()
        self.running = False
        self.pass_seconds(2)
        self.assertEqual(len(self.attempts), 1)
        self.stop()

    def test_stop_while_it_starts(self) -> None:
        """A stop breaks off the attempt that is under way, and there is no other one."""
        self.held = Deferred()
        self.running = False
        self.pass_seconds(2)
        self.stop()
        self.pass_seconds(100)
        self.assertEqual(len(self.attempts), 1)
        self.flushLoggedErrors()

    def test_stop_without_start(self) -> None:
        """A supervisor that has nothing to watch can be stopped, twice."""
        self.stop()
        self.stop()
