"""Input of one connection, read in shares: one per turn of the reactor.

No connection delays the others, however much it sends at once, and however much work each byte is.
Input beyond a turn's share is kept for the next turn; reading from the transport is paused if that
is much.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["SHARE", "Intake"]

_log = Logger(namespace="x121.http.intake")

SHARE = 16_384
"""A connection's share of one turn of the reactor, in bytes that take 0.1 us each."""
# The amount of unread input above which the transport is paused.
_READ_AHEAD_BYTES = 16_384


class Intake:
    """Buffers input from ``transport`` until it is read.

    If input is left, ``take_turn`` is called in the next turn of the reactor; it must call
    :meth:`read`.
    """

    __slots__ = (
        "_awaits_line_end",
        "_clock",
        "_is_paused",
        "_is_reading",
        "_next_turn",
        "_position",
        "_searched",
        "_share",
        "_take_turn",
        "_transport",
        "kept",
    )

    def __init__(
        self, transport: Any, clock: IReactorTime, take_turn: Callable[[], object]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._take_turn = take_turn
        self.kept = b""
        """The buffered input; empty when all of it is read."""
        # Input is read up to the position; the searched bytes after it don't begin a line end.
        self._position = 0
        self._searched = 0
        self._share = 0
        self._next_turn: IDelayedCall | None = None
        self._is_reading = False
        self._is_paused = False
        self._awaits_line_end = False

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        return len(self.kept) - self._position

    @property
    def is_busy(self) -> bool:
        """True if the input is being read, or will be in the next turn."""
        return self._is_reading or self._next_turn is not None

    # --- turns ---

    def put(self, data: bytes) -> None:
        """Append ``data`` to the buffered input."""
        self.kept = self.kept[self._position :] + data if self.kept else data
        self._position = 0
        self._awaits_line_end = False

    def read(self, feed: Callable[[], bool]) -> None:
        """Call ``feed`` until it returns False, the input ends or the share is used up.

        ``feed`` counts its work with :meth:`spend`.  Does nothing if the next turn is scheduled.
        """
        if self._next_turn is None:
            self._is_reading = True
            self._share = SHARE
            try:
                while self._position < len(self.kept) and self._share > 0 and feed():
                    pass
            finally:
                self._is_reading = False
            self._forget()
            if self.kept and self._share <= 0:
                self.read_later()
        if self._is_paused or len(self.kept) > _READ_AHEAD_BYTES:
            self._pause_or_resume()

    def read_later(self) -> None:
        """Continue in the next turn, if there is input that isn't being read."""
        if self.kept and not self._is_reading and self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._begin_turn)

    def spend(self, cost: int) -> None:
        """Subtract ``cost`` from this turn's share."""
        self._share -= cost

    def clear(self) -> bytes:
        """Return the unread input, and discard it."""
        rest, self.kept = self.kept[self._position :], b""
        self._position = self._searched = 0
        if self._is_paused:
            self._pause_or_resume()
        return rest

    def stop(self) -> bytes:
        """Return the unread input, and read no more."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        return self.clear()

    def _begin_turn(self) -> None:
        self._next_turn = None
        try:
            self._take_turn()
        except Exception:  # like a transport whose protocol raises
            _log.failure("Unhandled error in reading input")
            self._transport.abortConnection()

    def _forget(self) -> None:
        """Discard the read input when it is the larger part, so that each byte is copied once."""
        if self._position * 2 >= len(self.kept):
            self.kept = self.kept[self._position :]
            self._position = 0

    def _pause_or_resume(self) -> None:
        # After a pause in the middle of a line its end could not arrive.
        has_enough = len(self) > _READ_AHEAD_BYTES and not self._awaits_line_end
        if has_enough and not self._is_paused:
            self._transport.pauseProducing()
        elif self._is_paused and not has_enough:
            self._transport.resumeProducing()
        self._is_paused = has_enough

    # --- input ---

    def take(self, limit: int) -> bytes:
        """Read and return at most ``limit`` bytes."""
        data = self.kept[self._position : self._position + limit]
        self._position += len(data)
        return data

    def put_back(self, size: int) -> None:
        """Mark the last ``size`` bytes as unread."""
        self._position -= size

    def take_line(self) -> bytes | None:
        """Read and return a line without its CRLF, or None if its end has not arrived."""
        start = self._position
        end = self.kept.find(b"\r\n", start + self._searched)
        if end < 0:
            self._awaits_line_end = True
            return None
        self._searched = 0
        self._position = end + 2
        return self.kept[start:end]

    def peek(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes, and leave them unread."""
        return self.kept[self._position : self._position + limit]

    def search(self, pattern: re.Pattern[bytes]) -> bool:
        """Return True if the incomplete line contains ``pattern``, of two bytes at most.

        Bytes that were searched before are not searched again.
        """
        match = pattern.search(self.kept, self._position + self._searched)
        self._searched = max(0, len(self) - 1)  # the last byte may be the first of the two
        return match is not None
