"""What comes in is read in turns, each byte once, by the fast lane or by the parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from x121.testing.frames import BINARY, CONTINUATION, PING, TEXT, client_frame
from x121.ws.reader import FrameReader


class Counted(bytes):
    """Bytes that count how many were ever copied out of them, and out of the copies."""

    copied = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        if not isinstance(key, slice):
            return super().__getitem__(key)
        part = super().__getitem__(key)
        Counted.copied += len(part)
        return Counted(part)

    def __add__(self, other: Any) -> Counted:
        return Counted(super().__add__(other))


class Parser:
    """Notes what it gets: messages, and what would go to Autobahn."""

    def __init__(self) -> None:
        self.inside_message = False
        self.room = 1 << 30
        self.messages: list[tuple[bytes, bool]] = []
        self.pieces: list[bytes] = []
        self.heads: list[bytes] = []
        self.read = b""  # all of it, as the client sent it
        self.on_message: Callable[[], object] = int

    @property
    def is_full(self) -> bool:
        return self.room <= 0

    def take(self, payload: bytes, is_binary: bool) -> None:
        self.room -= 1
        self.messages.append((payload, is_binary))
        self.read += client_frame(BINARY if is_binary else TEXT, payload)
        self.on_message()

    def feed(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.read += piece

    def look_at(self, head: bytes) -> None:
        self.heads.append(head)


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, max_fast_bytes: int = 1 << 30) -> None:
        """Make a reader, and everything around it."""
        self.clock = Clock()
        self.transport = StringTransport()
        self.parser = Parser()
        self.reader = FrameReader(
            self.transport, self.parser, self.parser, self.clock, max_fast_bytes=max_fast_bytes
        )

    def finish(self) -> int:
        """Let the reader have its turns, and return how many it took."""
        turns = 0
        while self.clock.calls:
            calls, self.clock.calls = self.clock.calls, []
            for call in calls:
                call.func()
            turns += 1
        return turns

    def assert_idle(self) -> None:
        """Fail if anything is kept of what came in."""
        self.assertEqual((self.reader._unread, self.clock.getDelayedCalls()), (b"", []))

    def test_two_ways(self) -> None:
        """Messages take the lane; each other frame goes to the parser by itself, and whole."""
        ping, first = client_frame(PING, b"?"), client_frame(TEXT, b"be", fin=False)
        text, binary = client_frame(TEXT, b"text"), client_frame(BINARY, b"\xff")
        self.reader.put(text + ping + binary + first + text)
        self.assertEqual(
            self.parser.messages, [(b"text", False), (b"\xff", True), (b"text", False)]
        )
        self.assertEqual(self.parser.pieces, [ping, first])
        self.assert_idle()

    def test_inside_message(self) -> None:
        """Where a message has begun, no other one is taken: that is a fault."""
        self.parser.inside_message = True
        frames = [client_frame(CONTINUATION, b"x", fin=False), client_frame(TEXT, b"y")]
        self.reader.put(b"".join(frames))
        self.assertEqual((self.parser.messages, self.parser.pieces), ([], frames))

    def test_largest(self) -> None:
        """What is larger than may take the lane is the parser's, to refuse."""
        self.make(max_fast_bytes=3)
        small, large = client_frame(TEXT, b"123"), client_frame(TEXT, b"1234")
        self.reader.put(small + large)
        self.assertEqual(self.parser.messages, [(b"123", False)])
        self.assertEqual(self.parser.pieces, [large])

    def test_closed_lane(self) -> None:
        """Without a lane every frame is the parser's, an empty one too."""
        self.make(max_fast_bytes=-1)
        frames = [client_frame(TEXT, b""), client_frame(BINARY, b"1234")]
        self.reader.put(b"".join(frames))
        self.assertEqual((self.parser.messages, self.parser.pieces), ([], frames))

    def test_parts(self) -> None:
        """A frame that has begun when its rest is not there is the parser's to its end."""
        frame, text = client_frame(TEXT, b"x" * 20), client_frame(TEXT, b"text")
        self.reader.put(frame[:10])
        self.assertEqual(self.parser.pieces, [frame[:10]])
        self.reader.put(frame[10:20])
        self.reader.put(frame[20:] + text)
        self.assertEqual(b"".join(self.parser.pieces), frame)
        self.assertEqual(self.parser.messages, [(b"text", False)])
        self.assert_idle()

    def test_frame_in_a_frame(self) -> None:
        """The rest of a frame is no message, even if it arrives alone and looks like one."""
        inner = client_frame(TEXT, b"text")
        head = b"\x82" + bytes([0x80 | len(inner)]) + b"mask"
        self.reader.put(head)
        self.reader.put(inner)
        self.assertEqual((self.parser.messages, self.parser.pieces), ([], [head, inner]))
        self.assert_idle()

    def test_heads(self) -> None:
        """A head that isn't whole is shown to the parser, and kept: it may be for the lane."""
        frame = client_frame(TEXT, b"x" * 200)
        for cut in range(1, 8):
            self.reader.put(frame[:cut])
            self.reader.put(frame[cut:])
            self.assertEqual(self.parser.heads, [frame[:cut]])
            self.assertEqual(self.parser.messages, [(b"x" * 200, False)])
            self.assert_idle()
            self.make()

    def test_large_messages(self) -> None:
        """Of large messages that come at once, those that make up 64 KiB are read in a turn."""
        self.reader.put(client_frame(TEXT, bytes(20_000)) * 10)
        self.assertEqual(len(self.parser.messages), 4)
        self.assertEqual(self.finish(), 2)
        self.assertEqual(len(self.parser.messages), 10)
        self.assert_idle()

    def test_large_frames(self) -> None:
        """The parser gets a large frame in pieces of 16 KiB, 64 KiB of them a turn."""
        frame = client_frame(BINARY, bytes(1 << 20))
        self.reader.put(frame[:-1])
        self.assertEqual({len(piece) for piece in self.parser.pieces}, {16_384})
        self.assertEqual(len(self.parser.pieces), 4)
        self.finish()
        self.reader.put(frame[-1:])
        self.assertEqual(b"".join(self.parser.pieces), frame)
        self.assertEqual(self.parser.messages, [])
        self.assert_idle()

    def test_turns(self) -> None:
        """Of many frames 32 are read in a turn, whichever way they take."""
        for frame in (client_frame(TEXT, b"x"), client_frame(PING, b"x")):
            self.make()
            self.reader.put(frame * 100)
            found = len(self.parser.messages) + len(self.parser.pieces)
            self.assertEqual((found, self.finish()), (32, 3))
            self.assert_idle()

    def test_room(self) -> None:
        """Nothing is read while there is no room for it."""
        self.parser.room = 2
        self.reader.put(client_frame(TEXT, b"x") * 3)
        self.reader.put(client_frame(TEXT, b"y"))
        self.assertEqual(len(self.parser.messages), 2)
        self.parser.room = 2
        self.reader.read_later()
        self.finish()
        self.assertEqual([payload for payload, _ in self.parser.messages], [b"x", b"x", b"x", b"y"])
        self.assert_idle()

    def test_stopped_meanwhile(self) -> None:
        """When what is done with a message ends the reading, no other one is read."""
        self.parser.on_message = lambda: self.reader.stop()
        self.reader.put(client_frame(TEXT, b"x") * 100)
        self.reader.put(client_frame(TEXT, b"x"))
        self.assertEqual(len(self.parser.messages), 1)
        self.assert_idle()

    def test_more_meanwhile(self) -> None:
        """What comes while a message is being handled is read behind all else, and once."""
        more = [b"4", b"5", b"6"]

        def put_more() -> None:
            if more:
                self.reader.put(client_frame(TEXT, more.pop(0)))

        self.parser.on_message = put_more
        self.reader.put(b"".join(client_frame(TEXT, payload) for payload in (b"1", b"2", b"3")))
        self.finish()
        self.assertEqual(b"".join(payload for payload, _ in self.parser.messages), b"123456")
        self.assert_idle()

    def test_work_is_linear(self) -> None:
        """Of 10,000 frames in one segment each byte is copied a few times, not thousands."""
        message, ping = client_frame(TEXT, b"x" * 20), client_frame(PING, b"x" * 20)
        for frames in (message * 10_000, ping * 10_000, (message + ping) * 5000):
            for room in (1 << 30, 1):
                self.make()
                Counted.copied = 0
                self.parser.room = room
                self.reader.put(Counted(frames))
                while self.reader._unread:
                    self.parser.room = room
                    self.reader.read_later()
                    self.finish()
                found = len(self.parser.messages) + len(self.parser.pieces)
                self.assertEqual(found, 10_000)
                self.assertLess(Counted.copied, 3 * len(frames))

    def test_little_is_kept(self) -> None:
        """Of what was read nothing is kept for the sake of a few bytes behind it."""
        self.reader.put(client_frame(TEXT, b"x" * 1000) * 20 + b"\x81")
        self.assertEqual(self.reader._unread, b"\x81")

    def test_pause(self) -> None:
        """The transport is paused when 64 KiB are ahead, and only while they are."""
        self.parser.room = 0
        self.reader.put(client_frame(TEXT, b"x" * 65_000))
        self.assertEqual(self.transport.producerState, "producing")
        self.reader.put(client_frame(TEXT, b"x" * 1000))
        self.assertEqual((self.reader.is_paused, self.transport.producerState), (True, "paused"))
        self.parser.room = 1
        self.reader.read_later()
        self.finish()
        self.assertEqual(
            (self.reader.is_paused, self.transport.producerState), (False, "producing")
        )

    @settings(deadline=None)
    @given(st.data())
    def test_any_cut(self, data: st.DataObject) -> None:
        """However frames are cut, each is a message or the parser's, none is lost, in order."""
        self.make()
        kinds = st.sampled_from([TEXT, BINARY, PING, CONTINUATION])
        frames = data.draw(st.lists(st.tuples(kinds, st.binary(max_size=300)), max_size=8))
        sent = b"".join(client_frame(kind, payload) for kind, payload in frames)
        rest = sent
        while rest:
            cut = data.draw(st.integers(1, len(rest)))
            self.reader.put(rest[:cut])
            rest = rest[cut:]
        self.assertEqual(self.parser.read, sent)
        self.assert_idle()
