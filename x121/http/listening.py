"""Closes a listening port without resetting the connections that wait to be accepted."""

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
    # A port closes in the turn after its stopListening(), right after this call: only in some
    # microseconds between the two can a client connect and be reset.
    accepted = deferLater(clock, 0, _accept_waiting, port)
    return gatherResults([accepted, maybeDeferred(port.stopListening)])


def _accept_waiting(port: Any) -> None:
    """Accept the waiting connections, at most a full backlog: more may arrive meanwhile."""
    before, end = -1, port.sessionno + port.backlog
    while before < port.sessionno < end:
        before = port.sessionno
        port.doRead()
