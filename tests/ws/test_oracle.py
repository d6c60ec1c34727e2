"""Whatever a client sends, and however it is cut: the fast lane answers as Autobahn does.

Three servers get the same bytes: one with the lane, one without, and one whose Autobahn gets all
bytes as they come, without a reader of ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ws.client import WebSocket, WebSocketTestCase
from x121.testing.app import App
from x121.testing.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from x121.ws import protocol

LIMIT = 140


class NoReader:
    """Gives Autobahn everything at once."""

    is_paused = False

    def __init__(self, _transport: Any, autobahn: Any, *_: object, **__: object) -> None:
        self._autobahn: Any = autobahn

    def put(self, data: bytes) -> None:
        if self._autobahn is not None:
            self._autobahn.data += data
        while self._autobahn is not None and self._autobahn.processData():
            pass

    def read_later(self) -> None: ...

    def stop(self) -> None:
        self._autobahn = None


# --- what clients send --------------------------------------------------------------------


def frame(
    first: int, payload: bytes, *, mask: bytes | None = b"mask", length_bytes: int | None = None
) -> bytes:
    """Return a frame of any first byte, with its length in 0, 2 or 8 more bytes, fit or not."""
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65_536 else 8
    length = {0: size & 127, 2: 126, 8: 127}[length_bytes]
    head = bytes([first, length | (0x80 if mask else 0)]) + size.to_bytes(8)[8 - length_bytes :]
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


_MASKS = st.binary(min_size=4, max_size=4)
_PAYLOADS = st.one_of(
    st.text(max_size=30).map(str.encode),
    st.binary(max_size=30),
    st.sampled_from([0, 1, 124, 125, 126, 127, LIMIT - 1, LIMIT, LIMIT + 1]).map(
        lambda n: b"x" * n
    ),
)
_OPCODES = st.sampled_from([TEXT, BINARY])
_CODES = st.sampled_from([0, 999, 1000, 1001, 1005, 3000, 4999, 5000])

_messages = st.builds(
    lambda opcode, payload, mask: frame(0x80 | opcode, payload, mask=mask),
    _OPCODES,
    _PAYLOADS,
    _MASKS,
)
_controls = st.one_of(
    st.builds(client_frame, st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    st.builds(
        lambda code, reason: client_frame(CLOSE, struct.pack("!H", code) + reason),
        _CODES,
        st.just(b"") | st.just("Grüße".encode()) | st.binary(max_size=5),
    ),
)
_odd_frames = st.builds(
    frame,
    st.integers(0, 255) | st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0xC1, 0x88]),
    _PAYLOADS,
    mask=st.none() | _MASKS,
    length_bytes=st.sampled_from([None, 0, 2, 8]),
)


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """Return a message in fragments, between which there may be control frames."""
    payload, opcode = draw(_PAYLOADS), draw(_OPCODES)
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        cut = draw(st.integers(0, len(payload)))
        data += frame(opcode, payload[:cut], mask=draw(_MASKS))
        data += draw(st.just(b"") | _controls | _messages)
        payload, opcode = payload[cut:], CONTINUATION
    return data + frame(0x80, payload, mask=draw(_MASKS))


_streams = st.lists(
    st.one_of(_messages, _messages, _messages, fragments(), _controls, _odd_frames), max_size=6
).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """Return what a client sends, as it arrives."""
    stream = draw(_streams | st.binary(max_size=60))
    if draw(st.booleans()):
        return every_byte(stream)
    return cut_at(stream, sorted(draw(st.sets(st.integers(0, len(stream)), max_size=8))))


def every_byte(stream: bytes) -> list[bytes]:
    """Return ``stream`` byte by byte."""
    return [stream[index : index + 1] for index in range(len(stream))]


def cut_at(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the parts of ``stream`` between ``cuts``."""
    ends = [0, *cuts, len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


# --- what they get ------------------------------------------------------------------------


class OracleTests(WebSocketTestCase):
    def setUp(self) -> None:
        self.with_lane, self.without, self.autobahn = (
            self.app(
                None,
                DIAGNOSTICS="true",
                WS_MAX_MESSAGE_BYTES=str(LIMIT),
                WS_HEARTBEAT_INTERVAL_SECS="10000",
                X121_WEBSOCKET=way,
            )
            for way in ("fast", "stock", "stock")
        )

    def told(self, app: App, segments: Sequence[bytes]) -> list[Any]:
        """Return what a client of ``app`` sees of it after each segment, and what is logged."""
        app.log.clear()
        client = WebSocket(app, "/ws/echo")
        client.connection.transport.clear()
        seen = []
        for segment in segments:
            client.connection.send(segment)
            seen.append(self.seen(client))
        client.connection.disconnect()
        return [*seen, [(line["level"], line.get("code")) for line in app.lines("x121.ws")]]

    def seen(self, client: WebSocket) -> tuple[bytes, bool, bool, bool]:
        """Return what came since the last time, and how the connection is."""
        transport = client.connection.transport
        answered = client.connection.received
        transport.clear()
        return answered, transport.half_closed, transport.disconnecting, transport.aborted

    def assert_alike(self, segments: Sequence[bytes]) -> list[Any]:
        """Fail unless all three say the same; return that."""
        with_lane = self.told(self.with_lane, segments)
        self.assertEqual(with_lane, self.told(self.without, segments))
        with mock.patch.object(protocol, "FrameReader", NoReader):
            self.assertEqual(with_lane, self.told(self.autobahn, segments))
        return with_lane

    @settings(max_examples=500, deadline=None)
    @given(cut_streams())
    def test_any_stream(self, segments: list[bytes]) -> None:
        """The same messages are taken, with the same answers at the same bytes, and close codes."""
        self.assert_alike(segments)

    def test_cut_everywhere(self) -> None:
        """Cut in two at every byte, or into every byte, each kind of frame is answered alike."""
        for name, stream in STREAMS.items():
            with self.subTest(name):
                self.assert_alike(every_byte(stream))
                for cut in range(len(stream)):
                    self.assert_alike([stream[:cut], stream[cut:]])

    def test_codes(self) -> None:
        """What is compared are answers: the codes of faults are among them."""
        for name, code in (("text is not UTF-8", 1007), ("too large", 1009), ("no mask", 1002)):
            *_, logged = self.assert_alike([STREAMS[name]])
            self.assertEqual(logged[-1], ("info", code))


_SOME = client_frame(TEXT, "Grü€".encode())
STREAMS = {
    "messages": _SOME + client_frame(BINARY, b"\xff") + client_frame(TEXT) + _SOME,
    "a longer length": client_frame(BINARY, bytes(range(130))) + _SOME,
    "the largest": client_frame(TEXT, b"x" * LIMIT) + _SOME,
    "fragments": (
        _SOME
        + client_frame(TEXT, b"Gr\xc3", fin=False)
        + client_frame(PING, b"?")
        + client_frame(CONTINUATION, b"\xbc", fin=False)
        + client_frame(CONTINUATION, b"\xc3\x9fe")
        + _SOME
    ),
    "a message within a message": client_frame(TEXT, b"x", fin=False) + _SOME + _SOME,
    "text is not UTF-8": _SOME + client_frame(TEXT, b"ok \xe2\x82") + _SOME,
    "text is never UTF-8": _SOME + client_frame(TEXT, b"\xff ok") + _SOME,
    "too large": _SOME + client_frame(BINARY, b"x" * (LIMIT + 1))[:30],
    "far too large": _SOME + b"\x82\xff" + (1 << 62).to_bytes(8) + b"mask" + b"x" * 9,
    "over 63 bits": _SOME + b"\x82\xff" + b"\xff" * 8 + b"mask" + b"x" * 9,
    "length not minimal": _SOME + frame(0x82, b"x" * 9, length_bytes=2) + _SOME,
    "length not minimal at all": _SOME + frame(0x81, b"x" * 9, length_bytes=8) + _SOME,
    "no mask": _SOME + client_frame(TEXT, b"xyz", masked=False) + _SOME,
    "reserved bits": _SOME + client_frame(TEXT, b"xyz", reserved=2) + _SOME,
    "reserved opcode": _SOME + client_frame(3, b"xyz") + _SOME,
    "continuation of nothing": _SOME + client_frame(CONTINUATION, b"xyz") + _SOME,
    "control": client_frame(PING, b"?") + _SOME + client_frame(PONG) + _SOME + client_frame(PING),
    "control in fragments": _SOME + client_frame(PING, b"xyz", fin=False) + _SOME,
    "large control": _SOME + frame(0x89, b"x" * 126)[:20],
    "close": _SOME + client_frame(CLOSE, b"\x0f\xa0bye") + _SOME,
    "close without a code": _SOME + client_frame(CLOSE) + _SOME,
    "close of one byte": _SOME + client_frame(CLOSE, b"x") + _SOME,
    "close with a code that nobody may send": _SOME + client_frame(CLOSE, b"\x03\xed") + _SOME,
    "close with no text": _SOME + client_frame(CLOSE, b"\x03\xe8\xff") + _SOME,
}
