"""How the log's lines are written: in order, without waiting, and with a report of lost ones."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import resource
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.python import run
from x121.logs import writer as log_writer
from x121.logs.output import LogOutput
from x121.logs.writer import LineWriter


def describe_loss(count: int, reason: str) -> bytes:
    """Return a line that reports lost lines."""
    return f"lost {count}: {reason}\n".encode()


def temporary_path(test: SynchronousTestCase) -> Path:
    """Return the path of a file to be made, which goes with ``test``."""
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return Path(folder.name) / "log"


def read_available(descriptor: int) -> bytes:
    """Return what can be read from a non-blocking ``descriptor`` now."""
    pieces = []
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(descriptor, 65_536):
            pieces.append(piece)
    return b"".join(pieces)


class FakeReactor(Clock):
    """A reactor that runs when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.running = False
        self.from_threads: list[Callable[[], Any]] = []

    def callFromThread(self, call: Callable[[], Any], *args: Any) -> None:
        """Note that another thread woke the reactor."""
        self.from_threads.append(call)


class LineWriterTests(SynchronousTestCase):
    """``LineWriter``."""

    def setUp(self) -> None:
        """Make a pipe, whose reading end is non-blocking."""
        self.reactor = FakeReactor()
        self.reader, self.descriptor = os.pipe()
        os.set_blocking(self.reader, False)
        self.addCleanup(os.close, self.reader)
        self.addCleanup(self.close)
        self.writer = self.make_writer(self.descriptor)

    def make_writer(self, descriptor: int) -> LineWriter:
        """Return a writer to ``descriptor``."""
        return LineWriter(LogOutput(descriptor), self.reactor, describe_loss)

    def close(self) -> None:
        """Close the writing end, if it is open."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def read(self) -> bytes:
        """Return what was written since the last time."""
        return read_available(self.reader)

    def test_before_the_reactor_runs(self) -> None:
        """A line is written at once while no reactor runs."""
        self.writer.write(b"a\n")
        self.assertEqual(self.read(), b"a\n")

    def test_one_write_a_turn(self) -> None:
        """The lines of one turn are written in one call at its end, in order."""
        self.reactor.running = True
        self.patch(log_writer, "isInIOThread", lambda: True)
        written: list[bytes] = []
        write = os.write

        def spy(descriptor: int, data: bytes) -> int:
            written.append(bytes(data))
            return write(descriptor, data)

        self.patch(os, "write", spy)
        for turn in (b"1", b"2"):
            self.writer.write(b"a" + turn + b"\n")
            self.writer.write(b"b" + turn + b"\n")
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
            self.assertEqual(self.read(), b"")
            self.reactor.advance(0)
            self.assertEqual(self.read(), b"a" + turn + b"\nb" + turn + b"\n")
        self.assertEqual(written, [b"a1\nb1\n", b"a2\nb2\n"])

    def test_from_another_thread(self) -> None:
        """A line of another thread wakes the reactor."""
        self.reactor.running = True
        self.patch(log_writer, "isInIOThread", lambda: False)
        self.writer.write(b"a\n")
        self.writer.write(b"b\n")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        (flush,) = self.reactor.from_threads
        flush()
        self.assertEqual(self.read(), b"a\nb\n")

    def test_many_threads(self) -> None:
        """Whoever writes at the same time, each line is written once and whole."""
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.addCleanup(sys.setswitchinterval, usual)
        path = temporary_path(self)
        output = LogOutput.open(str(path))
        self.addCleanup(os.close, output.descriptor)
        writer = LineWriter(output, self.reactor, describe_loss)

        def work(number: int) -> None:
            for count in range(500):
                writer.write(b"%d.%d\n" % (number, count))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = path.read_text().split()
        expected = [f"{number}.{count}" for number in range(4) for count in range(500)]
        self.assertEqual(sorted(lines), sorted(expected))

    def test_after_the_reactor_stopped(self) -> None:
        """What waits when the reactor stops is written with the next line, or at the end."""
        self.reactor.running = True
        self.writer.write(b"a\n")
        self.reactor.running = False
        self.writer.write(b"b\n")
        self.assertEqual(self.read(), b"a\nb\n")
        self.reactor.running = True
        self.writer.write(b"c\n")
        self.writer.flush()
        self.assertEqual(self.read(), b"c\n")

    def test_nothing_to_write(self) -> None:
        """A flush without lines writes nothing."""
        self.writer.flush()
        self.assertEqual(self.read(), b"")

    def test_slow_reader(self) -> None:
        """A full, non-blocking pipe is waited for, and nothing of a line is lost."""
        os.set_blocking(self.descriptor, False)
        size = fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 4096)
        line = b"x" * (3 * size) + b"\n"
        received = io.BytesIO()

        def drain() -> None:
            os.set_blocking(self.reader, True)
            while received.tell() < len(line):
                received.write(os.read(self.reader, 1000))

        thread = threading.Thread(target=drain)
        thread.start()
        self.writer.write(line)
        thread.join(10)
        self.assertEqual(received.getvalue(), line)

    def test_stuck_reader(self) -> None:
        """A reader that takes nothing costs lines, which are reported on a line of their own.

        The process goes on, whether the pipe blocks or not.
        """
        for blocking in (False, True):
            os.set_blocking(self.descriptor, blocking)
            self._stuck_reader()

    def _stuck_reader(self) -> None:
        size = fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, 65536)
        self.patch(log_writer, "STUCK_READER_SECS", 0.01)
        self.writer.write(b"x" * (2 * size) + b"\n")
        self.assertEqual(self.read(), b"x" * size)
        self.writer.write(b"a\n")
        self.writer.write(b"b\n")
        self.assertEqual(self.read(), b"\nlost 1: the log's reader is too slow\na\nb\n")

    def test_closed_descriptor(self) -> None:
        """A descriptor that is closed, or that nobody reads, is nobody's error."""
        reader, descriptor = os.pipe()
        os.close(reader)
        broken = self.make_writer(descriptor)
        broken.write(b"a\n")
        os.close(descriptor)
        broken.write(b"b\n")

    def test_at_exit(self) -> None:
        """What waits when the process ends is written."""
        script = (
            "from x121.logs.output import LogOutput\n"
            "from x121.logs.writer import LineWriter\n"
            "class R:\n running = True\n callLater = callFromThread = lambda *args: None\n"
            "LineWriter(LogOutput(1), R(), None).write(b'last\\n')"
        )
        self.assertEqual(run(script), "last\n")

    # --- what is lost ---------------------------------------------------------------------

    def test_backlog_limit(self) -> None:
        """While the reactor runs a backlog is kept; lines beyond its limit are lost and counted."""
        self.reactor.running = True
        self.patch(log_writer, "MAX_BACKLOG_BYTES", 100_000)
        self.patch(log_writer, "isInIOThread", lambda: True)
        written = [b"%d" % number + b"x" * 999 + b"\n" for number in range(1000)]
        for line in written:
            self.writer.write(line)
            self.reactor.advance(log_writer.RETRY_SECS)
        received = b""
        while self.reactor.getDelayedCalls():
            self.reactor.advance(log_writer.RETRY_SECS)
            received += self.read()
        self.writer.write(b"next\n")
        self.reactor.advance(0)
        *kept, report, last = (received + self.read()).splitlines(keepends=True)
        self.assertEqual(kept, written[: len(kept)])
        self.assertGreater(sum(map(len, kept)), 100_000)
        lost = len(written) - len(kept)
        self.assertEqual(report, describe_loss(lost, "the log's reader is too slow"))
        self.assertEqual(last, b"next\n")

    def test_full_disk(self) -> None:
        """A full disk may leave half a line; when there is room again, a report follows on its own
        line, and says how many lines were lost.
        """
        path = temporary_path(self)
        output = LogOutput.open(str(path))
        self.addCleanup(os.close, output.descriptor)
        writer = LineWriter(output, self.reactor, describe_loss)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores SIGXFSZ
        for room in (0, 1, 7, 8, 9, 30):
            with path.open("w") as file:
                file.write("a\n")
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 + room, hard))
            try:
                for line in (b"1234567\n", b"2\n3\n", b"4\n"):
                    writer.write(line)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            writer.write(b"b\n")
            self.check_lost(room, path.read_text())

    def check_lost(self, room: int, text: str) -> None:
        """Check that ``text`` has a report of as many lines as are missing in it."""
        lines = text.splitlines()
        whole = [line for line in lines if line in ("1234567", "2", "3", "4")]
        reports = [line for line in lines if line.startswith("lost")]
        expected = [] if len(whole) == 4 else [f"lost {4 - len(whole)}: File too large"]
        self.assertEqual(reports, expected, (room, text))
        self.assertEqual(lines[-len(expected) - 1 :], [*expected, "b"])

    def test_no_space(self) -> None:
        """A device without room costs lines, no error, and the report names the reason."""
        descriptor = os.open("/dev/full", os.O_WRONLY)
        writer = self.make_writer(descriptor)
        for _ in range(12):
            writer.write(b"a\n")
        os.dup2(self.descriptor, descriptor)
        self.addCleanup(os.close, descriptor)
        writer.flush()
        writer.write(b"b\n")
        self.assertEqual(self.read(), b"lost 12: No space left on device\nb\n")

    def test_half_a_line_from_before(self) -> None:
        """A file that ends with half a line gets its line end before the first line."""
        path = temporary_path(self)
        for before, after in ((b"half", b"half\na\n"), (b"whole\n", b"whole\na\n"), (b"", b"a\n")):
            path.write_bytes(before)
            output = LogOutput.open(str(path))
            LineWriter(output, self.reactor, describe_loss).write(b"a\n")
            os.close(output.descriptor)
            self.assertEqual(path.read_bytes(), after)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12))))
    def test_any_outage(self, steps: list[tuple[int, int]]) -> None:
        """However an output fails, each line is there, whole, or counted as lost, in its order."""
        output = FailingOutput()
        self.reactor.running = True
        self.patch(log_writer, "MAX_BACKLOG_BYTES", 20)
        writer = LineWriter(output, self.reactor, describe_loss)
        number = 0
        for lines, room in steps:
            for _ in range(lines):
                writer.write(b"%d\n" % number)
                number += 1
            output.room = room
            writer.flush()
        output.room = 1 << 20
        writer.flush()
        writer.write(b"end\n")
        writer.flush()
        output.check(number)

    # --- kinds of output ------------------------------------------------------------------

    def test_terminal_that_nobody_reads(self) -> None:
        """A terminal whose other side isn't read costs lines, and never blocks."""
        self.check_unread(*os.openpty())

    def test_terminal_of_another_user(self) -> None:
        """So does one that can't be opened again."""

        def refuse(*args: Any) -> int:
            raise PermissionError

        ours, terminal = os.openpty()
        self.patch(os, "open", refuse)
        self.check_unread(ours, terminal)

    def test_socket_that_nobody_reads(self) -> None:
        """So does a socket, such as the one that systemd's journal reads."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.check_unread(ours.detach(), theirs.detach())

    def test_pipe_that_nobody_reads(self) -> None:
        """So does a pipe."""
        self.check_unread(*os.pipe())

    def check_unread(self, reader: int, descriptor: int) -> None:
        """Write to ``descriptor`` what nobody reads, then read from ``reader``."""
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, descriptor)
        os.set_blocking(reader, False)
        self.reactor.running = True
        self.patch(log_writer, "MAX_BACKLOG_BYTES", 50_000)
        self.patch(log_writer, "isInIOThread", lambda: True)
        blocking = os.get_blocking(descriptor)
        writer = self.make_writer(descriptor)
        written = [b"%d " % number + b"x" * (number % 300) for number in range(4000)]
        for line in written:
            writer.write(line + b"\n")
            self.reactor.advance(log_writer.RETRY_SECS)
        self.assertEqual(os.get_blocking(descriptor), blocking, "others share it")
        received = b""
        while piece := read_available(reader):
            received += piece
            self.reactor.advance(log_writer.RETRY_SECS)
        *kept, report = received.splitlines()
        self.assertEqual(kept, written[: len(kept)])
        lost = len(written) - len(kept)
        self.assertEqual(report, b"lost %d: the log's reader is too slow" % lost)


REPORT = r"lost (\d+): (no room|the log's reader is too slow)"


class FailingOutput(LogOutput):
    """An output in memory that takes ``room`` bytes, and then fails or has no room for now."""

    is_mid_line = False

    def __init__(self) -> None:
        self.written = b""
        self.room = 0

    def write(self, data: memoryview) -> int:
        """Take some of ``data``."""
        taken = min(len(data), self.room)
        self.room -= taken
        self.written += data[:taken]
        if not taken and len(self.written) % 2:
            raise OSError(28, "no room")
        return taken

    def check(self, count: int) -> None:
        """Check that all of ``count`` lines, and "end", are there or counted."""
        expected = 0
        *lines, end = self.written.decode().splitlines()
        for line in lines:
            if line == str(expected):
                expected += 1
            elif report := re.fullmatch(
                r"lost (\d+): (no room|the log's reader is too slow)", line
            ):
                expected += int(report[1])
        assert (expected, end) == (count, "end"), self.written


class LogOutputTests(SynchronousTestCase):
    """``LogOutput``."""

    def open(self, path: Path) -> LogOutput:
        """Open the output at ``path``."""
        output = LogOutput.open(str(path))
        self.addCleanup(os.close, output.descriptor)
        return output

    def test_open(self) -> None:
        """A log file is appended to, and made private to its owner and group."""
        path = temporary_path(self)
        for text in (b"a\n", b"b\n"):
            self.open(path).write(memoryview(text))
        self.assertEqual(path.read_bytes(), b"a\nb\n")
        self.assertEqual(path.stat().st_mode & 0o027, 0)

    def test_reopen(self) -> None:
        """Reopened, the file at the path is a new one; nothing is lost, and a line is whole."""
        path = temporary_path(self)
        reactor = FakeReactor()
        output = self.open(path)
        writer = LineWriter(output, reactor, describe_loss)
        writer.write(b"a\n")
        reactor.running = True
        writer.write(b"b\n")
        descriptor, old = output.descriptor, path.rename(path.with_name("log.1"))
        writer.reopen()
        writer.write(b"c\n")
        writer.flush()
        self.assertEqual((old.read_bytes(), path.read_bytes()), (b"a\nb\n", b"c\n"))
        self.assertEqual(output.descriptor, descriptor)
        self.assertFalse(os.get_inheritable(descriptor))

    def test_reopen_fails(self) -> None:
        """A file that can't be opened again leaves the output what it was."""
        path = temporary_path(self)
        output = self.open(path)
        path.rename(path.with_name("log.1"))
        path.mkdir()
        self.assertRaises(IsADirectoryError, output.reopen)
        output.write(memoryview(b"a\n"))
        self.assertEqual(path.with_name("log.1").read_bytes(), b"a\n")

    def test_reopen_standard_output(self) -> None:
        """Standard output, and a descriptor from elsewhere, stay what they are."""
        output = LogOutput.open("-")
        self.assertIsNone(output.path)
        output.reopen()
        self.assertEqual(output.descriptor, sys.stdout.fileno())

    def test_fifo_without_reader(self) -> None:
        """A FIFO that nobody reads is an error at once, not a wait for a reader."""
        path = temporary_path(self)
        os.mkfifo(path)
        self.assertRaises(OSError, LogOutput.open, str(path))

    def test_high_descriptor(self) -> None:
        """A descriptor above those that select() takes is as good as any."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        reader, descriptor = os.pipe()
        self.addCleanup(os.close, reader)
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 1500)
        os.close(descriptor)
        self.addCleanup(os.close, high)
        self.assertEqual(LogOutput(high).write(memoryview(b"a\n")), 2)
