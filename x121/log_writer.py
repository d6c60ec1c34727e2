"""Writes the log's lines: together, in order, and never for long."""

from __future__ import annotations

import atexit
import os
import select
import stat
import sys
from typing import Any, Protocol

from twisted.python.threadable import isInIOThread

__all__ = ["LineWriter", "open_log"]

# How long a reader of the log that lags behind is waited for, and the process stands still.
STUCK_READER_SECS = 1.0


def open_log(path: str) -> int:
    """Return a file descriptor to append to ``path``; ``-`` is standard output."""
    if path == "-":
        return sys.stdout.fileno()
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


class _Reactor(Protocol):
    running: bool

    def callLater(self, delay: float, call: Any, /, *args: Any) -> Any: ...
    def callFromThread(self, call: Any, /, *args: Any) -> Any: ...


class LineWriter:
    """Writes lines to a file descriptor, once a turn of ``reactor`` while that runs.

    Lines come from any thread.  Before the reactor runs and after it stopped they are
    written at once; what is left when the process ends is written by ``atexit``.
    """

    def __init__(self, descriptor: int, reactor: _Reactor) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self._lines: list[bytes] = []
        self._scheduled = False
        self._mid_line = False
        self._patience_secs = STUCK_READER_SECS
        # A pipe takes that much without blocking once it is writable (pipe(7)); a file and a
        # terminal take everything.
        is_pipe = not stat.S_ISREG(os.fstat(descriptor).st_mode) and not os.isatty(descriptor)
        self._at_once = select.PIPE_BUF if is_pipe else sys.maxsize
        atexit.register(self.flush)

    def write(self, line: bytes) -> None:
        """Write ``line`` by the end of this turn."""
        self._lines.append(line)
        if not self._reactor.running:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            if isInIOThread():
                self._reactor.callLater(0, self.flush)
            else:
                self._reactor.callFromThread(self.flush)

    def flush(self) -> None:
        """Write every line that waits.  A log that can't be written is nobody's request's fault."""
        self._scheduled = False
        lines, self._lines = self._lines, []
        if lines and self._mid_line:
            lines.insert(0, b"\n")  # what was written last is a part of a line that was given up
        data = memoryview(b"".join(lines))
        while data:
            try:
                if not self._is_writable():
                    return
                written = os.write(self._descriptor, data[: self._at_once])
            except OSError:
                return
            self._mid_line = data[written - 1] != ord("\n")
            data = data[written:]

    def _is_writable(self) -> bool:
        """Whether a write won't block.  A reader who is stuck is waited for only once."""
        if self._at_once == sys.maxsize:
            return True
        writable = select.select([], [self._descriptor], [], self._patience_secs)[1]
        self._patience_secs = STUCK_READER_SECS if writable else 0.0
        return bool(writable)
