"""Autobahn is imported where it delays nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from x121.ws import loading
from x121.ws.loading import load_autobahn


class Threads(Clock):
    """A reactor with a thread that works when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        alsoProvides(self, IReactorThreads)
        self.work: list[Callable[[], None]] = []

    def getThreadPool(self) -> Threads:
        return self

    def callInThreadWithCallback(self, done: Any, call: Any) -> None:
        self.work.append(lambda: done(True, call()))

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)


class LoadingTests(SynchronousTestCase):
    def test_in_a_thread(self) -> None:
        """A reactor's thread imports it, and the handshake waits for that."""
        reactor = Threads()
        with mock.patch.object(loading, "import_module") as imported:
            loaded = ensureDeferred(load_autobahn(reactor))
            self.assertNoResult(loaded)
            imported.assert_not_called()
            reactor.work.pop()()
            self.successResultOf(loaded)
        imported.assert_any_call("x121.ws.protocol")

    def test_without_threads(self) -> None:
        """Where there are no threads, as in tests, it is imported at once."""
        self.successResultOf(ensureDeferred(load_autobahn(Clock())))
        self.assertIn("x121.ws.protocol", sys.modules)
