"""Minimum rate at which clients must read responses.

A response that its client doesn't read occupies memory and a connection, and delays the server's
stop.  The rate is measured in bytes that the client's system has acknowledged.  The bytes that the
kernel accepts say little about the client: for a slow one it accepts megabytes at once, and then
no more until a third of them is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from x121.core.deadlines import Deadlines
from x121.http.sockets import acknowledged_bytes

__all__ = ["WINDOW_SECS", "SendRate"]

WINDOW_SECS = 30.0
"""The time over which the rate is measured; a client may pause for as long."""


class Connection(Hashable, Protocol):
    """The part of a connection that :class:`SendRate` uses."""

    transport: Any


class _Window:
    """The acknowledged bytes at the start of a window; ``was_taken`` if all was sent since."""

    __slots__ = ("acknowledged", "was_taken")

    def __init__(self, acknowledged: int) -> None:
        self.acknowledged = acknowledged
        self.was_taken = False


class SendRate:
    """Calls ``too_slow(connection)`` if a client reads less than ``min_bytes_per_sec``.

    A connection is measured from :meth:`blocked` to :meth:`freed`, while data waits for its client;
    at other times it costs nothing.  0 bytes per second means no limit.
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
        """Start to measure, unless already started: data waits for the client."""
        if self._min_bytes and connection not in self._windows:
            self._begin(connection)

    def freed(self, connection: Connection, is_blocked: bool) -> None:
        """Note that all data was sent; continue to measure if more data waits (``is_blocked``)."""
        window = self._windows.get(connection)
        if window is None:
            return
        window.was_taken = True
        if not is_blocked:
            self.stop(connection)

    def stop(self, connection: Connection) -> None:
        """Stop measuring: no data waits, or the connection is closed."""
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
            is_slow = not window.was_taken  # the system doesn't count acknowledged bytes
        if is_slow:
            self._too_slow(connection)
        else:
            self._begin(connection)
