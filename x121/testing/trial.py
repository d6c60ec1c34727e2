"""Test case for trial, which runs its own reactor: ``python -m twisted.trial tests``."""

from __future__ import annotations

import atexit
import functools
from contextlib import AsyncExitStack, ExitStack
from unittest import TestResult

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from x121.config import DbConfig
from x121.db.pool import Pool
from x121.testing.app import App
from x121.testing.database import Databases, running_pool
from x121.testing.postgres import running_postgres
from x121.testing.waiting import global_reactor

__all__ = ["FeatureTestCase"]


class FeatureTestCase(TestCase):
    """Test case with the server in memory and a new, migrated database::

        class ReadyTests(FeatureTestCase):
            async def test_ready(self) -> None:
                response = await self.app.fetch("GET", "/health/ready")
                self.assertEqual(response.status, 200)

    It needs trial. For tests without a database, use
    :class:`~twisted.trial.unittest.SynchronousTestCase` with ``self.enterContext(App())``, which
    pytest runs, too.
    """

    database: DbConfig
    pool: Pool
    app: App

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Run the test.  Raises :class:`RuntimeError` if a reactor runs already, as with pytest."""
        if global_reactor().running:
            raise RuntimeError(
                f"{type(self).__name__} needs trial: python -m twisted.trial.  For pytest write"
                " functions with the fixtures of x121.testing.fixtures"
            )
        return super().run(result)  # type: ignore[no-any-return]

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        """Create the database, the pool and the server; they are closed after the test."""
        stack = AsyncExitStack()
        self.addCleanup(lambda: Deferred.fromCoroutine(stack.aclose()))
        self.database = await stack.enter_async_context(_databases().migrated())
        self.pool = await stack.enter_async_context(running_pool(self.database))
        self.app = stack.enter_context(App(pool=self.pool))


@functools.cache
def _databases() -> Databases:
    """Return the databases on a server that runs until this process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return Databases(stack.enter_context(running_postgres()))
