"""What goes out: as much as the transport takes, and a bounded rest."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from x121.ws.outbox import Outbox


class Eager(StringTransport):
    """Has enough after every write."""

    outbox: Outbox

    def write(self, data: bytes) -> None:
        super().write(data)
        self.outbox.pauseProducing()


class OutboxTests(SynchronousTestCase):
    taken = 0

    def count(self) -> None:
        self.taken += 1

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.outbox = Outbox(self.transport, self.count, max_bytes=10)

    def test_written_at_once(self) -> None:
        """While the transport takes it, nothing is held back, however much it is."""
        self.assertTrue(self.outbox.write(b"x" * 100))
        self.assertEqual(self.transport.value(), b"x" * 100)
        self.assertEqual(self.outbox.waiting_bytes, 0)

    def test_push_producer(self) -> None:
        """The transport is to say when it has enough, not to ask for more."""
        self.assertIs(self.transport.producer, self.outbox)
        self.assertTrue(self.transport.streaming)

    def test_held_back(self) -> None:
        """While the transport has enough, what is written waits, up to the limit."""
        self.outbox.pauseProducing()
        self.assertTrue(self.outbox.write(b"12345"))
        self.assertTrue(self.outbox.write(b"67890"))
        self.assertFalse(self.outbox.write(b"x"))
        self.assertEqual((self.transport.value(), self.outbox.waiting_bytes), (b"", 10))
        self.outbox.resumeProducing()
        self.assertEqual((self.transport.value(), self.outbox.waiting_bytes), (b"1234567890", 0))

    def test_enough_again(self) -> None:
        """What was held back is held back again as soon as the transport has enough of it."""
        transport = Eager()
        outbox = transport.outbox = Outbox(transport, int, max_bytes=1 << 20)
        outbox.pauseProducing()
        frames = [bytes(range(256)) * 200 for _ in range(3)]
        for frame in frames:
            outbox.write(frame)
        for count in (1, 2, 3):
            outbox.resumeProducing()
            self.assertEqual(transport.value(), b"".join(frames[:count]))
            self.assertEqual(outbox.waiting_bytes, sum(map(len, frames[count:])))

    def test_connection_is_gone(self) -> None:
        """When the connection is gone, what was held back is forgotten."""
        self.outbox.pauseProducing()
        self.outbox.write(b"12345")
        self.outbox.close()
        self.assertEqual(self.outbox.waiting_bytes, 0)

    def test_dropped(self) -> None:
        """What is held back can be forgotten, and room be made for a last word."""
        self.outbox.pauseProducing()
        self.outbox.write(b"1234567890")
        self.outbox.drop()
        self.outbox.make_room()
        self.assertTrue(self.outbox.write(b"a very long goodbye"))
        self.outbox.resumeProducing()
        self.assertEqual(self.transport.value(), b"a very long goodbye")

    def test_flushed(self) -> None:
        """In the end all is left to the transport, which has no producer then."""
        self.outbox.pauseProducing()
        self.outbox.write(b"12345")
        self.outbox.flush()
        self.outbox.flush()
        self.assertEqual(self.transport.value(), b"12345")
        self.assertIsNone(self.transport.producer)

    def test_large_frames(self) -> None:
        """A large frame goes out as the transport takes it, however much is forgotten behind it."""
        transport = Eager()
        outbox = transport.outbox = Outbox(transport, int, max_bytes=10)
        frame = bytes(range(256)) * 1000
        self.assertTrue(outbox.write(frame))
        self.assertEqual(len(transport.value()), 65_536)
        self.assertTrue(outbox.write(b"next"))
        outbox.drop()
        for _ in range(3):
            outbox.resumeProducing()
        self.assertEqual(transport.value(), frame)

    def test_frames_stay_whole(self) -> None:
        """What is forgotten is never the rest of a frame that the transport has begun."""
        transport = StringTransport()
        outbox = Outbox(transport, int, max_bytes=1 << 30)
        outbox.pauseProducing()
        frames = [bytes([number]) * 50_000 for number in range(4)]
        for frame in frames:
            outbox.write(frame)
        write = transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            outbox.pauseProducing()

        transport.write = write_and_pause  # type: ignore[method-assign]
        outbox.resumeProducing()
        outbox.resumeProducing()
        outbox.drop()
        outbox.resumeProducing()
        self.assertEqual(transport.value(), b"".join(frames[:2]))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=4000) | st.booleans(), max_size=50))
    def test_any_schedule(self, steps: list[bytes | bool]) -> None:
        """Whenever the transport has enough or is empty, all bytes go out in their order."""
        transport = StringTransport()
        outbox = Outbox(transport, int, max_bytes=1 << 30)
        for step in steps:
            if isinstance(step, bytes):
                outbox.write(step)
            elif step:
                outbox.resumeProducing()
            else:
                outbox.pauseProducing()
        outbox.resumeProducing()
        written = b"".join(step for step in steps if isinstance(step, bytes))
        self.assertEqual(transport.value(), written)
