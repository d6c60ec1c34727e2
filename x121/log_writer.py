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

# How long a process that has no reactor, or none any more, waits for a reader that lags behind.
STUCK_READER_SECS = 1.0
# How soon a reader that lags behind is tried again, and how much is kept for it.
RETRY_SECS = 0.05
MAX_BACKLOG_BYTES = 4 << 20


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
        self._backlog = memoryview(b"")
        # A pipe takes that much without blocking once it is writable (pipe(7)); a file and a
        # terminal take everything.
        mode = os.fstat(descriptor).st_mode
        self._is_pipe = not stat.S_ISREG(mode) and not os.isatty(descriptor)
        self._at_once = select.PIPE_BUF if self._is_pipe else sys.maxsize
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
        """Write every line that waits, as far as the reader takes them.

        While the reactor runs it is never kept waiting: what the reader doesn't take is tried
        again soon, and given up past ``MAX_BACKLOG_BYTES``.
        """
        self._scheduled = False
        lines, self._lines = self._lines, []
        left = self._write_some(memoryview(b"".join([self._backlog, *lines])))
        if len(left) > MAX_BACKLOG_BYTES or not self._reactor.running:
            # The next line must not be taken for the rest of one that was given up.
            left = memoryview(b"\n" if self._mid_line else b"")
        self._backlog = left
        if left and self._reactor.running:
            self._scheduled = True
            self._reactor.callLater(RETRY_SECS, self.flush)

    def _write_some(self, data: memoryview) -> memoryview:
        """Return what could not be written."""
        patience_secs = 0.0 if self._reactor.running else STUCK_READER_SECS
        while data:
            try:
                if self._is_pipe and not self._is_writable(patience_secs):
                    break
                written = os.write(self._descriptor, data[: self._at_once])
            except BlockingIOError:
                break
            except OSError:
                return memoryview(b"")  # nobody will ever read it
            self._mid_line = data[written - 1] != ord("\n")
            data = data[written:]
        return data

    def _is_writable(self, patience_secs: float) -> bool:
        return bool(select.select([], [self._descriptor], [], patience_secs)[1])
