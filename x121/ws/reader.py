"""Frame reader of one connection: a bounded amount per turn, so that no client delays the others.

A frame that :mod:`x121.ws.frames` can parse bypasses Autobahn.  The bytes of every other frame go
to Autobahn, without a byte of the next frame.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from x121.ws.frames import Message, find_frame, take_message

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

    def take(self, payload: bytes, is_binary: bool) -> None:
        """Accept a message."""

    def feed(self, piece: bytes) -> None:
        """Parse a frame, or the next piece of it, beginning with its head."""

    def look_at(self, head: bytes) -> None:
        """Check the beginning of a frame's head without consuming it."""


class Queue(Protocol):
    """The queue of the messages that the parser has accepted."""

    @property
    def is_full(self) -> bool:
        """True while no further message is accepted; see :meth:`FrameReader.read_later`."""


class FrameReader:
    """Passes the bytes of ``transport`` to ``parser`` while ``inbox`` isn't full.

    The transport is paused while too many bytes wait to be read.  Messages of at most
    ``max_fast_bytes`` bypass Autobahn; with -1 none does.
    """

    __slots__ = (
        "_clock",
        "_frame_bytes",
        "_inbox",
        "_max_fast_bytes",
        "_next_turn",
        "_parser",
        "_position",
        "_transport",
        "_unread",
        "is_paused",
    )

    def __init__(
        self,
        transport: Any,
        parser: Parser,
        inbox: Queue,
        clock: IReactorTime,
        *,
        max_fast_bytes: int,
    ) -> None:
        self._transport = transport
        self._inbox = inbox
        self._parser: Parser | None = parser
        self._clock = clock
        self._max_fast_bytes = max_fast_bytes
        # Received bytes; those before the position are read.
        self._unread = b""
        self._position = 0
        # This many bytes from the position on belong to a frame that is left to the parser.
        self._frame_bytes = 0
        self._next_turn: IDelayedCall | None = None
        self.is_paused = False

    def put(self, data: bytes) -> None:
        """Read ``data`` after all bytes before it."""
        parser = self._parser
        if parser is None:
            return
        message = None
        if not (self._unread or self._frame_bytes or parser.inside_message or self._inbox.is_full):
            message = take_message(data, 0, self._max_fast_bytes)
            if message is not None and message[2] == len(data):
                parser.take(message[0], message[1])  # most segments are one message
                return
        self._unread = self._unread[self._position :] + data if self._unread else data
        self._position = 0
        if self._next_turn is None:
            self._read(message)

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

    def _read(self, message: Message | None = None) -> None:
        """Read up to a turn's share of the frames, the first of which may be a known ``message``.

        The position is set before each call of the parser, which may call :meth:`stop` or
        :meth:`put`.
        """
        frames, start, inbox = 0, self._position, self._inbox
        while (parser := self._parser) is not None and self._position < len(self._unread):
            if inbox.is_full:
                break
            if message is None and not self._frame_bytes and not parser.inside_message:
                message = take_message(self._unread, self._position, self._max_fast_bytes)
            if message is not None:
                payload, is_binary, self._position = message
                message = None
                parser.take(payload, is_binary)
            elif not self._read_piece(parser):
                break
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

    def _read_piece(self, parser: Parser) -> bool:
        """Pass a frame, or a piece of it, to the parser; return False if its head is incomplete."""
        position = self._position
        if not self._frame_bytes:
            end = find_frame(self._unread, position)
            if end is None:
                parser.look_at(self._unread[position:])
                return False
            self._frame_bytes = end - position
        piece = self._unread[position : position + min(self._frame_bytes, _PIECE_BYTES)]
        self._position += len(piece)
        self._frame_bytes -= len(piece)
        parser.feed(piece)
        return True

    def _pause_or_resume(self, left: int) -> None:
        has_enough = left > _READ_AHEAD_BYTES
        if has_enough and not self.is_paused:
            self._transport.pauseProducing()
        elif self.is_paused and not has_enough:
            self._transport.resumeProducing()
        self.is_paused = has_enough
