"""The fast lane's functions of bytes, against Autobahn's own."""

from __future__ import annotations

import random
import sys
from unittest import mock

from autobahn.websocket import USES_NVX
from autobahn.websocket.protocol import PreparedMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.testing.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, client_frame
from x121.ws import frames
from x121.ws.frames import Message, find_frame, make_frame, take_message

SIZES = (*range(262), 767, 768, 769, 1023, 4096, 65_535, 65_536, 300_001)


def xor(payload: bytes, mask: bytes) -> bytes:
    """Return ``payload`` with ``mask``, as RFC 6455 section 5.3 says it."""
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def take(data: bytes, at: int = 0) -> Message | None:
    """Return the message at ``at``, of any size."""
    return take_message(data, at, sys.maxsize)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return the payload of a message whose masked payload is this."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8)
    if 126 <= size < 65_536:
        length = b"\xfe" + size.to_bytes(2)
    message = take(b"\x82" + length + mask + payload + b"more")
    assert message is not None
    return message[0]


class MaskTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """A payload of any size is freed of its mask, whichever way is the fastest for it."""
        numbers = random.Random(1)
        for size in SIZES:
            payload, mask = numbers.randbytes(size), numbers.randbytes(4)
            self.assertEqual(unmask(payload, mask), xor(payload, mask), size)

    def test_native_code(self) -> None:
        """Where Autobahn has a masker in C, its functions are there, and are used."""
        self.assertEqual(frames._native_masker() is not None, USES_NVX)

    def test_without_native_code(self) -> None:
        """Where Autobahn has no masker in C, large payloads are freed of it all the same."""
        numbers = random.Random(2)
        with mock.patch.object(frames, "_native_masker", return_value=None):
            for size in SIZES:
                payload, mask = numbers.randbytes(size), numbers.randbytes(4)
                self.assertEqual(unmask(payload, mask), xor(payload, mask), size)

    def test_bytes(self) -> None:
        """What comes out is bytes, which nobody can change."""
        for size in (0, 1, 1000, 5000):
            self.assertIs(type(unmask(bytes(size), b"mask")), bytes)

    @settings(deadline=None)
    @given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
    def test_any_mask(self, payload: bytes, mask: bytes) -> None:
        """Whatever the mask, to mask twice is to do nothing."""
        self.assertEqual(unmask(payload, mask), xor(payload, mask))
        self.assertEqual(unmask(unmask(payload, mask), mask), payload)


class TakeTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """Text and binary data of every length encoding are taken, wherever they begin."""
        for size in (0, 1, 125, 126, 127, 1000, 65_535, 65_536):
            for opcode in (TEXT, BINARY):
                payload = b"x" * size
                frame = client_frame(opcode, payload)
                for before in (b"", b"\xff" * 7):
                    data = before + frame + b"\xff" * 20
                    end = len(before + frame)
                    self.assertEqual(find_frame(data, len(before)), end)
                    self.assertEqual(take(data, len(before)), (payload, opcode == BINARY, end))

    def test_left_to_autobahn(self) -> None:
        """Whatever isn't a message, whole and in order, is not taken."""
        frames = {
            "a byte is missing": client_frame(TEXT, b"x" * 10)[:-1],
            "begins a message": client_frame(TEXT, b"x", fin=False),
            "goes on": client_frame(CONTINUATION, b"x"),
            "control": client_frame(PING, b"x"),
            "close": client_frame(CLOSE),
            "reserved opcode": client_frame(3, b"x"),
            "no mask": client_frame(TEXT, b"x" * 100, masked=False) + b"mask",
            "no mask, 2 bytes of length": client_frame(TEXT, b"x" * 999, masked=False) + b"mask",
            "2 bytes of length for 125": b"\x82\xfe\x00\x7d" + bytes(4 + 125),
            "8 bytes of length for 65,535": b"\x82\xff" + (65_535).to_bytes(8) + bytes(4 + 65_535),
            "endless": b"\x82\xff" + b"\xff" * 8 + bytes(100),
            **{f"reserved bits {n}": client_frame(TEXT, b"x", reserved=n) for n in range(1, 8)},
        }
        for name, data in frames.items():
            with self.subTest(name):
                self.assertIsNone(take(data))

    def test_utf8(self) -> None:
        """Text is UTF-8 by RFC 3629: nothing overlong, no surrogates, nothing above U+10FFFF."""
        good = ["", "ascii", "Grüße €", "\U0010ffff", "\ud7ff\ue000", "\x00\x7f\x80"]
        for text in good:
            frame = client_frame(TEXT, text.encode())
            self.assertEqual(take(frame), (text.encode(), False, len(frame)))
        bad = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"]
        for payload in bad:
            self.assertIsNone(take(client_frame(TEXT, payload)))
            frame = client_frame(BINARY, payload)
            self.assertEqual(take(frame), (payload, True, len(frame)))

    def test_incomplete_heads(self) -> None:
        """Until a frame's head is there whole, nobody knows where it ends."""
        for size, head in ((0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)):
            data = b"\xff" * 3 + client_frame(TEXT, b"x" * size)
            for known in range(head):
                self.assertIsNone(find_frame(data[: 3 + known], 3))
                self.assertIsNone(take(data[: 3 + known], 3))
            self.assertEqual(find_frame(data[: 3 + head], 3), 3 + head + size)

    def test_too_large(self) -> None:
        """What is larger than it may be is not taken."""
        frame = client_frame(TEXT, b"x" * 200)
        self.assertEqual(take_message(frame, 0, 200), (b"x" * 200, False, len(frame)))
        self.assertIsNone(take_message(frame, 0, 199))
        self.assertIsNone(take_message(client_frame(TEXT), 0, -1))


class MakeTests(SynchronousTestCase):
    def test_as_autobahn(self) -> None:
        """A frame is, byte by byte, the one that Autobahn makes."""
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20):
            for is_binary in (False, True):
                payload = random.Random(size).randbytes(size)
                expected = PreparedMessage(payload, is_binary, False, True).payloadHybi
                self.assertEqual(make_frame(payload, is_binary=is_binary), expected)
