"""What has come in on one connection: taken apart in turns, so that nobody holds up the others.

A frame of which :mod:`lane` makes a message goes past Autobahn; the bytes of every other one go to
Autobahn, and no byte of the next frame with them.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from x121.ws.frames import find_frame, take_message

__all__ = ["FrameReader", "Parser"]

# A client may send thousands of frames in one segment.  So many of them, or pieces of large ones,
# are read in one turn of the reactor, until they are so many bytes,
_FRAMES_PER_TURN = 32
_BYTES_PER_TURN = 65_536
_PIECE_BYTES = 16_384
# and so much it may have sent ahead.
_READ_AHEAD_BYTES = 65_536


class Parser(Protocol):
    """Who gets the messages, and what of the rest is for Autobahn."""

    @property
    def inside_message(self) -> bool:
        """Whether a message has begun that goes on in the next frame."""

    def may_read(self) -> bool:
        """Whether there is room for another message."""

    def take(self, payload: bytes, is_binary: bool) -> None:
        """Take a message."""

    def feed(self, piece: bytes) -> None:
        """Take in a frame, or as much of it as there is, from its head on."""

    def look_at(self, head: bytes) -> None:
        """Look at the beginning of a frame's head, of which nothing is taken in."""


class FrameReader:
    """Hands what comes from ``transport`` to ``parser``, as fast as that may read.

    When it is slower than the peer, the transport is paused.  Messages of at most
    ``max_fast_bytes`` may take the fast lane; with -1 none may.
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
        # What has come in, and is read up to the position.
        self._unread = b""
        self._position = 0
        # So many bytes from there on are of a frame that was left to the parser.
        self._frame_bytes = 0
        self._next_turn: IDelayedCall | None = None
        self.is_paused = False

    def put(self, data: bytes) -> None:
        """Read ``data`` when all before it is read."""
        if self._parser is None:
            return
        self._unread = self._unread[self._position :] + data if self._unread else data
        self._position = 0
        if self._next_turn is None:
            self._read()

    def read_later(self) -> None:
        """Go on in the next turn of the reactor, when the others have had theirs."""
        if self._next_turn is None and self._parser is not None:
            self._next_turn = self._clock.callLater(0, self._take_turn)

    def stop(self) -> None:
        """Read nothing more: what comes is thrown away from now on."""
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
        # What was read is forgotten when it is the larger part, so that each byte is copied once.
        if left < self._position:
            self._unread = self._unread[self._position :]
            self._position = 0
        if self.is_paused or left > _READ_AHEAD_BYTES:
            self._pause_or_resume(left)

    def _read_frame(self) -> bool:
        """Read a frame, or a piece of one; return False if that needs room, or more bytes.

        Whatever is called may end it all, or put more in: the position is set before.
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
        """Leave a frame, or a piece of it, to the parser."""
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
