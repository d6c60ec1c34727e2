"""Name lookups in dedicated daemon threads, which don't delay a stop.

getaddrinfo(3) blocks for as long as name servers don't respond, and can't be cancelled.  In the
reactor's threads it would delay the work of features, and a stop, which waits for that work.  A
lookup has no side effects, so its thread can end with the process.
"""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.python.threadpool import ThreadPool

__all__ = ["install_resolver", "lookup_threads"]

_MAX_THREADS = 10


class _DaemonThread(Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _LookupThreads(ThreadPool):
    threadFactory = _DaemonThread


@cache
def lookup_threads(reactor: Any) -> ThreadPool:
    """Return the lookup threads of ``reactor``: created once, and never stopped."""
    threads = _LookupThreads(0, _MAX_THREADS, "x121-lookups")
    threads.start()
    return threads


def install_resolver(reactor: Any) -> None:
    """Make ``reactor`` do its own lookups, such as those for treq, in these threads."""
    reactor.installNameResolver(GAIResolver(reactor, lambda: lookup_threads(reactor)))
