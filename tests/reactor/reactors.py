"""Runs what a test does on a reactor of its own: Twisted's, or ours."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from x121.reactor.reactor import UvloopReactor

__all__ = ["REACTORS", "count_descriptors", "logged", "run", "until"]

Result = TypeVar("Result")

_LIMIT_SECS = 10.0


def _stock() -> Any:
    if platform.system() == "Linux":
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()
    return SelectReactor()


REACTORS: dict[str, Callable[[], Any]] = {"stock": _stock, "uvloop": UvloopReactor}
"""What makes a reactor, by its kind."""


def run(kind: str, scenario: Callable[[Any], Coroutine[Any, Any, Result]]) -> Result:
    """Return what ``scenario`` returns, which is given a running reactor of ``kind``."""
    reactor = REACTORS[kind]()
    outcome: list[Any] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(scenario(reactor))
        done.addTimeout(_LIMIT_SECS, reactor)
        done.addBoth(outcome.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    _close(reactor)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: Result = outcome[0]
    return result


def _close(reactor: Any) -> None:
    """Close what a reactor keeps when it has stopped: a process has only one, else."""
    for reader in [*reactor._internalReaders]:
        reactor._removeInternalReader(reader)
        reader.connectionLost(None)
    if isinstance(reactor, UvloopReactor):
        reactor._asyncioEventloop.close()
    elif hasattr(reactor, "_poller"):
        reactor._poller.close()


async def until(reactor: Any, true: Callable[[], object]) -> None:
    """Wait, one turn of the reactor after the other, until something is ``true``."""
    while not true():
        await deferLater(reactor, 0)


def count_descriptors() -> int:
    """Return how many file descriptors are open, but for those of garbage."""
    gc.collect()
    return len(os.listdir("/dev/fd"))


@contextmanager
def logged() -> Iterator[list[Any]]:
    """Collect the types of the exceptions that are logged meanwhile."""
    types: list[Any] = []

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            types.append(failure.type)

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    try:
        yield types
    finally:
        globalLogPublisher.removeObserver(observer)
