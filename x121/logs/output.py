"""The log's output: a file, a pipe, a socket or a terminal, with writes that never block.

A log reader that doesn't read must not stop the server.  So a write accepts only the bytes that fit
now.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

__all__ = ["LogOutput"]

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
# A writable terminal accepts this many bytes of one line.  For more it may block, and a line feed
# may become two characters.
_TERMINAL_PIECE = 128

_Write = Callable[[memoryview], int]
_Piece = Callable[[memoryview], memoryview]


class LogOutput:
    """File descriptor for log lines.  ``path`` is the file's, if it can be reopened."""

    def __init__(self, descriptor: int, path: str | None = None) -> None:
        self.descriptor = descriptor
        self.path = path
        self._write = _write_function(descriptor)

    @classmethod
    def open(cls, path: str) -> LogOutput:
        """Return the output ``path``; ``-`` is standard output.  Raises :class:`OSError`."""
        if path == "-":
            return cls(sys.stdout.fileno())
        path = os.path.abspath(path)  # twistd changes its folder before a reopen may come
        return cls(os.open(path, _FLAGS, 0o640), path)

    def reopen(self) -> None:
        """Reopen the file, which may have been renamed.

        Raises :class:`OSError` if that fails; then the output doesn't change.
        """
        if self.path is None:
            return
        opened = os.open(self.path, _FLAGS, 0o640)
        os.dup2(opened, self.descriptor, inheritable=False)
        os.close(opened)
        self._write = _write_function(self.descriptor)

    def write(self, data: memoryview) -> int:
        """Write a part of ``data``; return its length, or 0 if the output would block."""
        try:
            return self._write(data)
        except BlockingIOError:
            return 0

    def wait(self, secs: float) -> bool:
        """Wait up to ``secs`` until the output is writable; return True if it is."""
        return secs > 0 and _is_writable(self.descriptor, secs)

    @property
    def is_mid_line(self) -> bool:
        """True if the output is a file that ends with an incomplete line, as after a full disk."""
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return False
        with suppress(OSError):  # it may be writable and not readable
            reading = os.open(f"/dev/fd/{self.descriptor}", os.O_RDONLY)
            try:
                return os.pread(reading, 1, status.st_size - 1) != b"\n"
            finally:
                os.close(reading)
        return False


def _write_function(descriptor: int) -> _Write:
    """Return a function that writes a part of its argument, or raises BlockingIOError."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or not os.get_blocking(descriptor):
        return partial(os.write, descriptor)
    if stat.S_ISSOCK(mode):
        return partial(_send, socket.socket(fileno=os.dup(descriptor)))
    if not os.isatty(descriptor):
        # pipe(7): a writable pipe accepts PIPE_BUF bytes.
        return partial(_write_piece, descriptor, lambda data: data[: select.PIPE_BUF])
    try:
        # O_NONBLOCK belongs to the open file, which the shell shares: open another one.
        own = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # it belongs to another user, as after `su`
        return partial(_write_piece, descriptor, _terminal_piece)
    return partial(os.write, own)


def _send(connection: socket.socket, data: memoryview) -> int:
    return connection.send(data, socket.MSG_DONTWAIT)


def _write_piece(
    descriptor: int, piece: Callable[[memoryview], memoryview], data: memoryview
) -> int:
    if not _is_writable(descriptor, 0):
        raise BlockingIOError
    return os.write(descriptor, piece(data))


def _terminal_piece(data: memoryview) -> memoryview:
    """Return the rest of the first line of ``data``, or its line feed."""
    text = bytes(data[:_TERMINAL_PIECE]).partition(b"\n")[0]
    return data[: len(text) or 1]


def _is_writable(descriptor: int, secs: float) -> bool:
    # Not select(), which refuses descriptors from 1024 up.
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(secs * 1000))
