"""Input is read in shares of a turn, each byte once, and reading pauses where much waits."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from x121.http.intake import SHARE, Intake


class Reader:
    """Takes pieces of ``size`` bytes, each of which costs ``cost``."""

    def __init__(self, size: int = 1, cost: int = SHARE // 4) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.intake = Intake(self.transport, self.clock, self.read)
        self.taken: list[bytes] = []
        self.is_full = False
        self._size = size
        self._cost = cost

    def put(self, data: bytes) -> None:
        self.intake.put(data)
        self.read()

    def read(self) -> None:
        self.intake.read(self._read_piece)

    def _read_piece(self) -> bool:
        if self.is_full:
            return False
        self.taken.append(self.intake.take(self._size))
        self.intake.spend(self._cost)
        return True


class IntakeTests(SynchronousTestCase):
    def test_share(self) -> None:
        """What a turn's share doesn't cover is read in the next turns, in order."""
        reader = Reader()
        reader.put(b"abcdef")
        self.assertEqual(b"".join(reader.taken), b"abcd")
        reader.put(b"ghijk")
        self.assertEqual(b"".join(reader.taken), b"abcd")
        (call,) = reader.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 0)
        reader.clock.advance(0)
        self.assertEqual(b"".join(reader.taken), b"abcdefghijk")
        self.assertEqual(reader.clock.getDelayedCalls(), [])

    def test_full_reader(self) -> None:
        """Input is kept for a reader that takes none, until it asks for it."""
        reader = Reader()
        reader.is_full = True
        reader.put(b"ab")
        self.assertEqual(reader.clock.getDelayedCalls(), [])
        reader.is_full = False
        reader.intake.read_later()
        reader.intake.read_later()
        self.assertEqual((reader.taken, len(reader.intake)), ([], 2))
        reader.clock.advance(0)
        self.assertEqual((reader.taken, len(reader.intake)), ([b"a", b"b"], 0))

    def test_pause(self) -> None:
        """The transport is paused while more than 16 KiB wait."""
        reader = Reader(size=1024, cost=SHARE // 2)
        reader.put(b"x" * 18_432)
        self.assertEqual(reader.transport.producerState, "producing")
        reader.put(b"x" * 1024)
        self.assertEqual(reader.transport.producerState, "paused")
        reader.clock.advance(0)
        self.assertEqual(reader.transport.producerState, "producing")

    def test_long_line(self) -> None:
        """The transport is not paused while the end of a line is awaited, however long it is."""
        transport = StringTransport()
        intake = Intake(transport, Clock(), lambda: None)
        take_line = intake.take_line
        for piece, feed, state in (
            (b"x" * 20_000, lambda: take_line() is not None, "producing"),
            (b"x" * 1000, lambda: False, "paused"),
            (b"x" * 1000, lambda: take_line() is not None, "producing"),
        ):
            intake.put(piece)
            intake.read(feed)
            self.assertEqual(transport.producerState, state)
        intake.put(b"\r\n")
        self.assertEqual(take_line(), b"x" * 22_000)

    def test_stop(self) -> None:
        """Whoever stops is given what is left, the transport reads on, and no turn comes."""
        reader = Reader()
        reader.put(b"x" * 20_000)
        self.assertEqual(reader.transport.producerState, "paused")
        self.assertEqual(reader.intake.stop(), b"x" * 19_996)
        self.assertEqual(reader.transport.producerState, "producing")
        self.assertEqual(reader.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """What is raised in a later turn ends the connection, as it does in ``dataReceived``."""
        reader = Reader()
        reader.put(b"abcdef")
        self.patch(reader.intake, "_take_turn", lambda: 1 / 0)
        reader.clock.advance(0)
        self.assertTrue(reader.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc"]), max_size=30))
    def test_lines(self, pieces: list[bytes]) -> None:
        """Lines are the same in whatever pieces they come."""
        intake = Intake(StringTransport(), Clock(), lambda: None)
        lines: list[bytes] = []

        def read() -> bool:
            line = intake.take_line()
            if line is None:
                intake.search(re.compile(b"never"))
                return False
            lines.append(line)
            return True

        for piece in pieces:
            intake.put(piece)
            intake.read(read)
        *whole, rest = b"".join(pieces).split(b"\r\n")
        self.assertEqual((lines, intake.clear()), (whole, rest))

    def test_search(self) -> None:
        """The beginning of a line is searched once, with the byte before what is new."""
        for pattern, found in ((b"!", [True, True, False, False]), (b"\rc", [False] * 3 + [True])):
            intake = Intake(StringTransport(), Clock(), lambda: None)
            seen = []
            for piece in (b"a!", b"b", b"\r", b"c"):
                intake.put(piece)
                seen.append(intake.search(re.compile(pattern)))
            self.assertEqual(seen, found)
