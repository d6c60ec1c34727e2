"""What features have running: it starts with the server, and stops before the pool does."""

from __future__ import annotations

import gc

from twisted.application.internet import TimerService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from x121.db.pool import Pool
from x121.runtime.shutdown import Report, Running, Shutdown
from x121.testing import App


class Slow(Service):
    """Takes a second to stop, and notes whether the pool still runs then."""

    def __init__(self, clock: Clock, pool: Pool) -> None:
        self._clock = clock
        self._pool = pool
        self.pool_ran: bool | None = None

    def stopService(self) -> Deferred[None]:
        super().stopService()
        done: Deferred[None] = Deferred()
        self._clock.callLater(1, self._stopped, done)
        return done

    def _stopped(self, done: Deferred[None]) -> None:
        self.pool_ran = self._pool._running
        done.callback(None)


class ServicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a server that runs a service."""
        app = App()
        self.addCleanup(app.close)
        self.clock, self.state = app.clock, app.state
        self.successResultOf(ensureDeferred(self.state.pool.start()))
        self.service = Slow(self.clock, self.state.pool)
        self.service.setServiceParent(self.state.services)
        self.state.services.startService()

    def stop(self, budget_secs: float) -> Deferred[Report]:
        """Begin to stop the server."""
        running = Running(
            self.state.lifecycle, ThreadPool(), pool=self.state.pool, services=self.state.services
        )
        return ensureDeferred(Shutdown(running, budget_secs=budget_secs, clock=self.clock).run())

    def test_before_the_pool(self) -> None:
        """The stop waits for a service that takes its time, and only then for the pool."""
        stopping = self.stop(10)
        self.assertTrue(self.state.pool._running)
        self.assertNoResult(stopping)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(stopping).exit_code, 0)
        self.assertIs(self.service.pool_ran, True)
        self.assertFalse(self.state.pool._running)
        self.assertFalse(self.service.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_that_fails(self) -> None:
        """One that fails to stop is logged, and keeps no other and nothing else from it."""

        class Failing(Service):
            def stopService(self) -> None:
                if self.running:
                    super().stopService()
                    raise RuntimeError("a fault")

        Failing().setServiceParent(self.state.services)
        stopping = self.stop(10)
        self.clock.advance(1)
        self.successResultOf(stopping)
        self.assertIs(self.service.pool_ran, True)
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(str(failure.value), "a fault")

    def test_never_started(self) -> None:
        """A server in memory stops the services that a test has started, and no other."""
        with App() as app:
            for _ in range(2):
                timer = TimerService(1, int)
                timer.clock = app.clock
                timer.setServiceParent(app.state.services)
            timer.startService()
        self.assertEqual(app.clock.getDelayedCalls(), [])
        gc.collect()  # an error that nobody handles is logged once its Deferred goes
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_within_the_budget(self) -> None:
        """One that takes longer than the budget is not waited for."""
        stopping = self.stop(0.5)
        self.clock.advance(0.5)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(stopping).seconds, 0.5)
