"""Slow readers: the least rate at which clients take what waits for them.

A response that its client doesn't take holds memory, a connection, and the end of a stop.  The rate
is measured where it is true: in bytes that the client's system has acknowledged.  The kernel takes
megabytes for a slow client at once, and then no more until a third of them is gone, so what it
takes says little about the client.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from x121.core.deadlines import Deadlines
from x121.http.sockets import acknowledged_bytes

__all__ = ["WINDOW_SECS", "SendRate"]

WINDOW_SECS = 30.0
"""The time over which the rate is measured; a client may stand still for as long."""


class Connection(Hashable, Protocol):
    """The part of a connection that is used here."""

    transport: Any


class _Window:
    """The acknowledged bytes at the begin of a window, and whether all was taken since."""

    __slots__ = ("acknowledged", "was_taken")

    def __init__(self, acknowledged: int) -> None:
        self.acknowledged = acknowledged
        self.was_taken = False


class SendRate:
    """Calls ``too_slow(connection)`` for those that take less than ``min_bytes_per_sec``.

    It is told by :meth:`blocked` and :meth:`freed` when something waits for a client, and costs
    nothing else.  0 bytes a second is no limit.
    """

    def __init__(
        self,
        min_bytes_per_sec: int,
        too_slow: Callable[[Any], object],
        *,
        clock: IReactorTime,
    ) -> None:
        self._min_bytes = min_bytes_per_sec * WINDOW_SECS
        self._too_slow = too_slow
        self._deadlines: Deadlines[Connection] = Deadlines(WINDOW_SECS, self._check, clock=clock)
        self._windows: dict[Connection, _Window] = {}

    def blocked(self, connection: Connection) -> None:
        """Measure from now on, unless that is done already: the client doesn't take all."""
        if self._min_bytes and connection not in self._windows:
            self._begin(connection)

    def freed(self, connection: Connection, is_blocked: bool) -> None:
        """Note that the client has taken all; measure on if it ``is_blocked`` by more already."""
        window = self._windows.get(connection)
        if window is None:
            return
        window.was_taken = True
        if not is_blocked:
            self.stop(connection)

    def stop(self, connection: Connection) -> None:
        """Measure no more: nothing waits, or the connection is gone."""
        if self._windows.pop(connection, None) is not None:
            self._deadlines.stop(connection)

    def _begin(self, connection: Connection) -> None:
        self._windows[connection] = _Window(acknowledged_bytes(connection.transport))
        self._deadlines.start(connection)

    def _check(self, connection: Connection) -> None:
        window = self._windows.pop(connection)
        acknowledged = acknowledged_bytes(connection.transport)
        if acknowledged:
            is_slow = acknowledged - window.acknowledged < self._min_bytes
        else:
            is_slow = not window.was_taken  # the system doesn't tell
        if is_slow:
            self._too_slow(connection)
        else:
            self._begin(connection)
