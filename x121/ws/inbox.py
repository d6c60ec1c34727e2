"""Per-connection queue: handles incoming messages one by one, in order, with a bounded backlog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

__all__ = ["Inbox", "Work"]

_log = Logger(namespace="x121.ws.inbox")

_MAX_WAITING = 16

Work = Callable[[Any], Deferred[Any] | None]
"""A task that doesn't fail.  It is done when its Deferred fires, or at once if it returns None."""


class Output(Protocol):
    """Destination of what the tasks send."""

    is_paused: bool
    """True while the peer doesn't read what was sent."""


class Inbox:
    """Runs one task at a time, and queues a bounded number.

    Callers check :attr:`is_full` before :meth:`put`; ``on_room`` is called when a full queue has
    space again.  At most 16 tasks wait, and none is added once they have ``max_bytes``.  No task
    begins while ``output`` is paused; call :meth:`go_on` when it no longer is.
    """

    __slots__ = (
        "_bytes",
        "_current",
        "_is_looping",
        "_max_bytes",
        "_on_room",
        "_output",
        "_waiting",
        "is_full",
    )

    def __init__(self, output: Output, on_room: Callable[[], object], *, max_bytes: int) -> None:
        self._output = output
        self._on_room = on_room
        self._max_bytes = max_bytes
        self._waiting: list[tuple[Work, Any, int]] = []
        self._bytes = 0
        self._current: Deferred[Any] | None = None
        self._is_looping = False
        self.is_full = False

    def put(self, work: Work, argument: Any = None, size: int = 0) -> None:
        """Run ``work(argument)`` after all tasks before it; it keeps ``size`` bytes alive."""
        is_busy = self._is_looping or self._waiting or self._current is not None
        if is_busy or self._output.is_paused:
            self._waiting.append((work, argument, size))
            self._bytes += size
            self._set_full()
        else:
            self._is_looping = True
            try:
                self._current = doing = work(argument)
                if doing is not None:
                    doing.addBoth(self._done)
            finally:
                self._is_looping = False
        if self._waiting:
            self.go_on()

    def hurry(self) -> None:
        """Run tasks even if the output is paused, from the next :meth:`put` or :meth:`go_on` on."""
        if self._output is not _CLOSED:
            self._output = _UNPAUSED

    def forget(self) -> None:
        """Discard the waiting tasks.  The current one continues."""
        was_full = self.is_full
        self._waiting = []
        self._bytes = 0
        self.is_full = False
        if was_full:
            self._on_room()

    def _set_full(self) -> None:
        self.is_full = len(self._waiting) >= _MAX_WAITING or self._bytes >= self._max_bytes

    def close(self) -> None:
        """Discard the waiting tasks, and cancel the current one."""
        self._output = _CLOSED
        self._on_room = bool
        self.forget()
        if self._current is not None:
            try:
                self._current.cancel()
            except Exception:
                _log.failure("Could not cancel the handling of a WebSocket message")

    def go_on(self) -> None:
        """Run the tasks that may begin, in a loop: a ready one needs no turn of the reactor."""
        if self._is_looping:
            return
        self._is_looping = True
        try:
            while self._waiting and self._current is None and not self._output.is_paused:
                self._begin_next()
        finally:
            self._is_looping = False

    def _begin_next(self) -> None:
        was_full = self.is_full
        work, argument, size = self._waiting.pop(0)
        self._bytes -= size
        self._set_full()
        self._current = doing = work(argument)
        if doing is not None:
            doing.addBoth(self._done)
        if was_full and not self.is_full:
            self._on_room()

    def _done(self, _: object) -> None:
        self._current = None
        self.go_on()


class _Constant:
    """An output that never changes."""

    def __init__(self, *, is_paused: bool) -> None:
        self.is_paused = is_paused


_UNPAUSED = _Constant(is_paused=False)
_CLOSED = _Constant(is_paused=True)
