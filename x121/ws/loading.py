"""Loading of Autobahn at the first handshake: it takes 6 MiB, which not every server needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool

__all__ = ["load_autobahn"]

_MODULES = ("x121.ws.protocol", "autobahn.twisted.resource")


async def load_autobahn(clock: IReactorTime) -> None:
    """Import the modules of WebSocket connections.

    That takes some 30 ms.  If ``clock`` is a reactor, a thread of it does it, so that other
    connections don't wait; Python switches between threads every 5 ms.
    """
    if not IReactorThreads.providedBy(clock):
        _load()
        return
    reactor: Any = clock
    await deferToThreadPool(reactor, reactor.getThreadPool(), _load)


def _load() -> None:
    for name in _MODULES:
        import_module(name)
