"""The end of a listening port, at which no connection that was made is reset."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

__all__ = ["stop_listening"]


def stop_listening(port: Any, *, clock: IReactorTime) -> Deferred[Any]:
    """Accept every connection that waits, then close ``port``, a TCP or UNIX port of Twisted's.

    Returns a Deferred that fires when the port is closed.
    """
    # A port closes in the turn after its stopListening(), just behind this call: nobody can connect
    # in between, but for some microseconds.
    accepted = deferLater(clock, 0, _accept_waiting, port)
    return gatherResults([accepted, maybeDeferred(port.stopListening)])


def _accept_waiting(port: Any) -> None:
    """Accept until nobody waits; no more than can wait, because others may come meanwhile."""
    before, end = -1, port.sessionno + port.backlog
    while before < port.sessionno < end:
        before = port.sessionno
        port.doRead()
