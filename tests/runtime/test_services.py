"""What features have running: it starts with the server, and stops before the pool does."""

from __future__ import annotations

import gc
import os

from twisted.application.internet import TimerService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from x121.application import Application, Lifecycle
from x121.config import load
from x121.db.pool import Pool
from x121.runtime.components import DatabasePool, DatabaseServer, Features
from x121.runtime.lifecycle import Budget, Components
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


class NoDatabase(DatabasePool):
    """A pool that has no connection open until one is needed."""

    async def start(self) -> None:
        self.pool = App().state.pool
        await self.pool.start()


class ServicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a server that runs a service."""
        self.clock = Clock()
        config = load({}, os.devnull).config
        database = DatabaseServer(config.db)
        self.pool = NoDatabase(database, request_timeout_secs=30, reactor=self.clock)
        features = Features(
            Application("test"), config, database, self.pool, Lifecycle(), reactor=self.clock
        )
        self.components = Components([self.pool, features])
        self.successResultOf(self.components.start())
        self.state = features.state
        self.service = Slow(self.clock, self.state.pool)
        self.service.setServiceParent(self.state.services)

    def stop(self, budget_secs: float) -> Deferred[None]:
        """Begin to stop the server."""
        return ensureDeferred(self.components.stop(Budget(budget_secs, self.clock)))

    def test_before_the_pool(self) -> None:
        """The stop waits for a service that takes its time, and only then for the pool."""
        stopping = self.stop(10)
        self.assertTrue(self.state.pool._running)
        self.assertNoResult(stopping)
        self.clock.advance(1)
        self.successResultOf(stopping)
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
        self.successResultOf(stopping)
        self.assertIsNone(self.service.pool_ran)
