"""The suites in memory once more, on :class:`FastChannel`: nobody must see a difference.

``RefusalTests`` of ``tests/http/test_channel.py`` is ``ChannelRefusalTests`` here.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from unittest import TestCase

import tests.http
import tests.middleware
import tests.web
from tests.memory import AppTestCase
from x121.http.fast import FastChannel


def _modules() -> Iterator[str]:
    """Yield the modules whose tests say something about HTTP."""
    for package in (tests.web, tests.http, tests.middleware):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.startswith("test_"):
                yield f"{package.__name__}.{module.name}"
    # How a WebSocket begins and ends; in between there is no channel.
    yield from ("tests.ws.test_handshake", "tests.ws.test_shutdown")


def _suites(module: str) -> dict[str, type[TestCase]]:
    prefix = module.rpartition(".test_")[2].title().replace("_", "")
    here = {"make_channel": FastChannel, "__module__": __name__}
    return {
        name: type(name, (suite,), here)
        for suite in vars(import_module(module)).values()
        if isinstance(suite, type) and issubclass(suite, AppTestCase) and suite.__module__ == module
        for name in [prefix + suite.__name__]
    }


SUITES = {name: suite for module in _modules() for name, suite in _suites(module).items()}
globals().update(SUITES)


class SuitesTests(AppTestCase):
    """What is above does what it says."""

    make_channel = FastChannel

    def test_servers_are_fast(self) -> None:
        """The servers' connections are what is to be tested."""
        self.assertIsInstance(self.app().connect().channel, FastChannel)

    def test_suites_are_found(self) -> None:
        """There are suites of every package, and the originals are not run a second time."""
        found = {name for name in globals() if name.endswith("Tests")}
        for name in ("RouterHandlerTests", "ChannelRefusalTests", "CorsPreflightTests"):
            self.assertIn(name, found)
        self.assertEqual({globals()[name].__module__ for name in found}, {__name__})
