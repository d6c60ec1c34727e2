"""Frame reader of one connection: a bounded amount per turn, so that no client delays the others.

A frame that :mod:`x121.ws.frames` can parse bypasses Autobahn.  The bytes of every other frame go
to Autobahn, without a byte of the next frame.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from x121.ws.frames import find_frame, take_message

__all__ = ["FrameReader", "Parser"]

# A client may send thousands of frames in one segment.  One turn of the reactor reads up to this
# many frames, or pieces of large ones, and stops after this many bytes.
_FRAMES_PER_TURN = 32
_BYTES_PER_TURN = 65_536
_PIECE_BYTES = 16_384
# Reading is paused while more unread bytes than this are buffered.
_READ_AHEAD_BYTES = 65_536


class Parser(Protocol):
    """Receiver of messages, and of the frames that are left to Autobahn."""

    @property
    def inside_message(self) -> bool:
        """True if a message has begun that continues in the next frame."""

    def may_read(self) -> bool:
        """Return True if another message is accepted."""

    def take(self, payload: bytes, is_binary: bool) -> None:
        """Accept a message."""

    def feed(self, piece: bytes) -> None:
        """Parse a frame, or the next piece of it, beginning with its head."""

    def look_at(self, head: bytes) -> None:
        """Check the beginning of a frame's head without consuming it."""


class FrameReader:
    """Passes the bytes of ``transport`` to ``parser``, as fast as ``parser`` accepts them.

    The transport is paused while the parser is slower than the peer.  Messages of at most
    ``max_fast_bytes`` bypass Autobahn; with -1 none does.
    """

    __slots__ = (
        "_clock",
        "_frame_bytes",
        "_lane_bytes",
        "_next_turn",
        "_parser",
        "_position",
        "_transport",
        "_unread",
        "is_paused",
    )

    def __init__(
        self, transport: Any, parser: Parser, clock: IReactorTime, *, max_fast_bytes: int
    ) -> None:
        self._transport = transport
        self._parser: Parser | None = parser
        self._clock = clock
        self._lane_bytes = max_fast_bytes
        # Received bytes; those before the position are read.
        self._unread = b""
        self._position = 0
        # This many bytes from the position on belong to a frame that is left to the parser.
        self._frame_bytes = 0
        self._next_turn: IDelayedCall | None = None
        self.is_paused = False

    def put(self, data: bytes) -> None:
        """Read ``data`` after all bytes before it."""
        if self._parser is None:
            return
        self._unread = self._unread[self._position :] + data if self._unread else data
        self._position = 0
        if self._next_turn is None:
            self._read()

    def read_later(self) -> None:
        """Continue in the next turn of the reactor, after the other connections."""
        if self._next_turn is None and self._parser is not None:
            self._next_turn = self._clock.callLater(0, self._take_turn)

    def stop(self) -> None:
        """Stop reading: discard everything that arrives from now on."""
        self._parser = None
        self._unread = b""
        self._position = 0
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self._pause_or_resume(0)

    def _take_turn(self) -> None:
        self._next_turn = None
        self._read()

    def _read(self) -> None:
        frames, start = 0, self._position
        while self._position < len(self._unread) and self._read_frame():
            frames += 1
            if frames == _FRAMES_PER_TURN or self._position - start >= _BYTES_PER_TURN:
                self.read_later()
                break
        left = len(self._unread) - self._position
        # Read bytes are discarded when they are the larger part: each byte is copied once.
        if left < self._position:
            self._unread = self._unread[self._position :]
            self._position = 0
        if self.is_paused or left > _READ_AHEAD_BYTES:
            self._pause_or_resume(left)

    def _read_frame(self) -> bool:
        """Read a frame, or a piece of one; return False if the parser is full or bytes are missing.

        The position is set before each call of the parser, which may call :meth:`stop` or
        :meth:`put`.
        """
        parser = self._parser
        if parser is None or not parser.may_read():
            return False
        if not self._frame_bytes:
            data, position = self._unread, self._position
            frame = find_frame(data, position)
            if frame is None:
                parser.look_at(data[position:])
                return False
            start, end = frame
            if end - start <= self._lane_bytes and not parser.inside_message:
                message = take_message(data, position, start, end)
                if message is not None:
                    self._position = end
                    parser.take(*message)
                    return True
            self._frame_bytes = end - position
        self._read_piece(parser)
        return True

    def _read_piece(self, parser: Parser) -> None:
        """Pass a frame, or a piece of it, to the parser."""
        end = self._position + min(self._frame_bytes, _PIECE_BYTES)
        piece = self._unread[self._position : end]
        self._position += len(piece)
        self._frame_bytes -= len(piece)
        parser.feed(piece)

    def _pause_or_resume(self, left: int) -> None:
        has_enough = left > _READ_AHEAD_BYTES
        if has_enough and not self.is_paused:
            self._transport.pauseProducing()
        elif self.is_paused and not has_enough:
            self._transport.resumeProducing()
        self.is_paused = has_enough
