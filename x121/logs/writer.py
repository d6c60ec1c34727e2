"""Writes log lines in batches, in order, and without blocking for long."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.python.threadable import isInIOThread

from x121.logs.output import LogOutput

__all__ = ["DescribeLoss", "LineWriter"]

# How long a process waits for a slow log reader while its reactor isn't running.
STUCK_READER_SECS = 1.0
# How soon a write to a slow log reader is repeated, and how much is kept for it.
RETRY_SECS = 0.05
MAX_BACKLOG_BYTES = 4 << 20

_SLOW_READER = "the log's reader is too slow"
_NOTHING = memoryview(b"")

DescribeLoss = Callable[[int, str], bytes]
"""Converts the number of lost lines and the reason to a line that reports them."""


class _Reactor(Protocol):
    running: bool

    def callLater(self, delay: float, call: Any, /, *args: Any) -> Any: ...
    def callFromThread(self, call: Any, /, *args: Any) -> Any: ...


class LineWriter:
    """Writes lines to ``output``, once per turn of ``reactor`` while it runs.

    Any thread may write lines.  Before the reactor runs and after it has stopped, lines are written
    at once; ``atexit`` writes those that are left when the process ends.

    A running reactor never waits for a slow log reader: ``MAX_BACKLOG_BYTES`` are kept for it, and
    further lines are lost, as are lines that the output rejects.  In their place, as soon as the
    output accepts lines again, the writer writes a line from ``describe_loss``.
    """

    def __init__(self, output: LogOutput, reactor: _Reactor, describe_loss: DescribeLoss) -> None:
        self._output = output
        self._reactor = reactor
        self._describe_loss = describe_loss
        self._lines: list[bytes] = []
        self._scheduled = False
        self._backlog = _NOTHING
        self._mid_line = output.is_mid_line
        self._lost = 0
        self._reason = ""
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
        """Write all waiting lines that the output accepts now."""
        self._scheduled = False
        lines, self._lines = self._lines, []
        if self._lost and not self._report_loss():
            self._lose(lines, self._reason)
        elif len(self._backlog) > MAX_BACKLOG_BYTES:
            self._lose(lines, _SLOW_READER)
            self._write_backlog([])
        else:
            self._write_backlog(lines)
        if self._backlog:
            self._scheduled = True
            self._reactor.callLater(RETRY_SECS, self.flush)

    def reopen(self) -> None:
        """Write all waiting lines, then reopen the file by its path.

        Raises :class:`OSError` if that fails; then the output doesn't change.
        """
        self.flush()
        self._output.reopen()
        self._mid_line = self._output.is_mid_line

    # --- writing --------------------------------------------------------------------------

    def _write_backlog(self, more: list[bytes]) -> None:
        """Write the backlog and ``more``, and keep the rest for the next attempt."""
        data = memoryview(b"".join([self._line_end, self._backlog, *more]))
        self._backlog, error = self._write_some(data)
        if self._backlog and (error or not self._reactor.running):
            self._lose([self._backlog.tobytes()], error or _SLOW_READER)
            self._backlog = _NOTHING

    def _report_loss(self) -> bool:
        """Write the backlog and then a report of the lost lines; return True if both fit."""
        self._write_backlog([])
        if self._backlog:
            return False
        report = self._line_end + self._describe_loss(self._lost, self._reason)
        left, _ = self._write_some(memoryview(report))
        if not left:  # else the whole report is written again later
            self._lost = 0
        return not left

    @property
    def _line_end(self) -> bytes:
        """The line end after a line whose rest was lost."""
        return b"\n" if self._mid_line and not self._backlog else b""

    def _lose(self, lines: list[bytes], reason: str) -> None:
        if lines:  # a line without only its line feed is not lost
            self._lost += sum(map(bool, b"".join(lines).split(b"\n")))
            self._reason = reason

    def _write_some(self, data: memoryview) -> tuple[memoryview, str]:
        """Return the data that could not be written, and the error, if any."""
        deadline = time.monotonic() + self._patience_secs
        try:
            while data:
                written = self._output.write(data)
                if written:
                    self._mid_line = data[written - 1] != ord("\n")
                    data = data[written:]
                elif not self._output.wait(deadline - time.monotonic()):
                    break
        except OSError as error:
            return data, error.strerror or str(error)
        return data, ""

    @property
    def _patience_secs(self) -> float:
        """The seconds to wait for a log reader: none if it has already made lines get lost."""
        return 0.0 if self._reactor.running or self._lost else STUCK_READER_SECS
