"""What has come in on one connection: taken apart in turns, so that nobody holds up the others."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Parser", "Reader"]

# A client may send thousands of frames in one segment.  So many steps of the parser's, of which a
# frame takes two, it has in one turn of the reactor,
_STEPS_PER_TURN = 64
# and so much it may have sent ahead.
_READ_AHEAD_BYTES = 65_536
# Autobahn copies what it hasn't taken apart with every frame, so it gets no more than this.
_PIECE_BYTES = 16_384


class Parser(Protocol):
    """What takes the bytes apart."""

    def may_read(self) -> bool:
        """Whether there is room for what is found in them."""

    def read_step(self) -> bool:
        """Take a step; return False if more bytes are needed for it."""

    def read_piece(self, piece: bytes) -> None:
        """Take some more bytes in."""


class Reader:
    """Hands what comes from ``transport`` to ``parser``, as fast as that may read.

    When it is slower than the peer, the transport is paused.
    """

    __slots__ = (
        "_clock",
        "_next_turn",
        "_parser",
        "_transport",
        "_unread",
        "is_paused",
    )

    def __init__(self, transport: Any, parser: Parser, clock: IReactorTime) -> None:
        self._transport = transport
        self._parser: Parser | None = parser
        self._clock = clock
        self._unread = b""
        self._next_turn: IDelayedCall | None = None
        self.is_paused = False

    def put(self, data: bytes) -> None:
        """Read ``data`` when all before it is read."""
        if self._parser is None:
            return
        self._unread += data
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
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self._pause_or_resume()

    def _take_turn(self) -> None:
        self._next_turn = None
        self._read()

    def _read(self) -> None:
        steps = _STEPS_PER_TURN
        while steps and self._step():
            steps -= 1
        if not steps:
            self.read_later()
        self._pause_or_resume()

    def _step(self) -> bool:
        """Take a step, or some more bytes for the next; return False if there is none to take."""
        parser = self._parser
        if parser is None or not parser.may_read():
            return False
        if parser.read_step():
            return True
        piece, self._unread = self._unread[:_PIECE_BYTES], self._unread[_PIECE_BYTES:]
        parser.read_piece(piece)
        return bool(piece)

    def _pause_or_resume(self) -> None:
        has_enough = len(self._unread) > _READ_AHEAD_BYTES
        if has_enough and not self.is_paused:
            self._transport.pauseProducing()
        elif self.is_paused and not has_enough:
            self._transport.resumeProducing()
        self.is_paused = has_enough
