"""The components of a server, one by one, as far as no database is needed."""

from __future__ import annotations

import threading

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from x121.runtime.components import Threads
from x121.runtime.lifecycle import Budget
from x121.testing import App


class ThreadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a thread that works until :meth:`finish`."""
        self.clock = Clock()
        self.pool = ThreadPool(minthreads=1, maxthreads=1)
        self.pool.start()
        self.finished = threading.Event()
        self.addCleanup(self.finish)
        self.pool.callInThread(self.finished.wait)
        self.threads = Threads(self.pool, clock=self.clock)

    def finish(self) -> None:
        """Let the thread end its work, and wait until it has."""
        self.finished.set()
        if not self.pool.joined:
            self.pool.stop()

    def stop(self) -> Deferred[None]:
        """Begin to stop, within a second."""
        return Deferred.fromCoroutine(self.threads.stop(Budget(1, self.clock)))

    def test_work_that_ends(self) -> None:
        """A stop waits for work in a thread."""
        stopping = self.stop()
        self.clock.advance(0.5)
        self.assertNoResult(stopping)
        self.finish()
        self.clock.advance(0.1)
        self.successResultOf(stopping)
        self.assertEqual(self.threads.left, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_work_that_does_not_end(self) -> None:
        """At the end of the budget a thread that works is left, and the log says so."""
        with App() as app:
            stopping = self.stop()
            self.clock.advance(1)
            self.successResultOf(stopping)
        self.assertEqual(self.threads.left, 1)
        (warning,) = [line for line in app.log if line["level"] == "warn"]
        self.assertEqual(warning["count"], 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
