"""Writes the log's lines: together, in order, and never for long."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.python.threadable import isInIOThread

from x121.logs.output import LogOutput

__all__ = ["DescribeLoss", "LineWriter"]

# How long a process that has no reactor, or none any more, waits for a reader that lags behind.
STUCK_READER_SECS = 1.0
# How soon a reader that lags behind is tried again, and how much is kept for it.
RETRY_SECS = 0.05
MAX_BACKLOG_BYTES = 4 << 20

_SLOW_READER = "the log's reader is too slow"
_NOTHING = memoryview(b"")

DescribeLoss = Callable[[int, str], bytes]
"""The number of lines that were lost and the reason, to a line that says so."""


class _Reactor(Protocol):
    running: bool

    def callLater(self, delay: float, call: Any, /, *args: Any) -> Any: ...
    def callFromThread(self, call: Any, /, *args: Any) -> Any: ...


class LineWriter:
    """Writes lines to ``output``, once a turn of ``reactor`` while that runs.

    Lines come from any thread.  Before the reactor runs and after it stopped they are
    written at once; what is left when the process ends is written by ``atexit``.

    While the reactor runs it never waits for a reader that lags behind: ``MAX_BACKLOG_BYTES`` are
    kept for that, and lines beyond are lost.  So are lines that the output refuses.  A line made by
    ``describe_loss`` stands where they are missing, as soon as the output takes lines again.
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
        """Write every line that waits, as far as the output takes them."""
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
        """Write what waits, and what comes from now on to the file that has the path now.

        Raises :class:`OSError` if that can't be opened; then the output stays what it was.
        """
        self.flush()
        self._output.reopen()
        self._mid_line = self._output.is_mid_line

    # --- writing --------------------------------------------------------------------------

    def _write_backlog(self, more: list[bytes]) -> None:
        """Write the backlog and ``more``, and keep what the reader may still take."""
        data = memoryview(b"".join([self._line_end, self._backlog, *more]))
        self._backlog, error = self._write_some(data)
        if self._backlog and (error or not self._reactor.running):
            self._lose([self._backlog.tobytes()], error or _SLOW_READER)
            self._backlog = _NOTHING

    def _report_loss(self) -> bool:
        """Return whether the backlog, and a report of what was lost behind it, are written."""
        self._write_backlog([])
        if self._backlog:
            return False
        report = self._line_end + self._describe_loss(self._lost, self._reason)
        left, _ = self._write_some(memoryview(report))
        if not left:  # else it is written again as a whole
            self._lost = 0
        return not left

    @property
    def _line_end(self) -> bytes:
        """The end of a line whose rest was lost."""
        return b"\n" if self._mid_line and not self._backlog else b""

    def _lose(self, lines: list[bytes], reason: str) -> None:
        if lines:  # a line of which only the line feed is missing is not lost
            self._lost += sum(map(bool, b"".join(lines).split(b"\n")))
            self._reason = reason

    def _write_some(self, data: memoryview) -> tuple[memoryview, str]:
        """Return what could not be written, and the error if there was one."""
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
        """How long to wait for a reader, which is in vain for one that didn't read before."""
        return 0.0 if self._reactor.running or self._lost else STUCK_READER_SECS
