"""Input of one connection, read in shares: one per turn of the reactor.

No connection holds up the others, however much it sends at once, and however much work each byte
of it is.  What is left of a turn's input is kept, reading from the transport is paused if that is
much, and it goes on in the next turn.
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
"""A connection's share of one turn of the reactor, in bytes of what takes 0.1 us each."""
# So much may have arrived ahead of what is read.
_READ_AHEAD_BYTES = 16_384


class Intake:
    """Keeps what has arrived from ``transport`` until it is read.

    ``take_turn`` is called in the next turn of the reactor when input is left; it calls
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
        """What has arrived, which is empty when all of it is read."""
        # Read up to the position.  So many bytes from there on can't begin a line end.
        self._position = 0
        self._searched = 0
        self._share = 0
        self._next_turn: IDelayedCall | None = None
        self._is_reading = False
        self._is_paused = False
        self._awaits_line_end = False

    def __len__(self) -> int:
        """How many bytes wait to be read."""
        return len(self.kept) - self._position

    @property
    def is_busy(self) -> bool:
        """Whether what is kept is being read, or will be in the next turn."""
        return self._is_reading or self._next_turn is not None

    # --- turns ---

    def put(self, data: bytes) -> None:
        """Keep ``data`` behind what is kept already."""
        self.kept = self.kept[self._position :] + data if self.kept else data
        self._position = 0
        self._awaits_line_end = False

    def read(self, feed: Callable[[], bool]) -> None:
        """Call ``feed`` until it returns False, the input ends or the share is used up.

        It counts its work with :meth:`spend`.  Does nothing while the next turn is awaited.
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
        """Go on in the next turn, if there is input and nothing reads it."""
        if self.kept and not self._is_reading and self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._begin_turn)

    def spend(self, cost: int) -> None:
        """Count ``cost`` of this turn's share."""
        self._share -= cost

    def clear(self) -> bytes:
        """Return what is kept, and keep nothing."""
        rest, self.kept = self.kept[self._position :], b""
        self._position = self._searched = 0
        if self._is_paused:
            self._pause_or_resume()
        return rest

    def stop(self) -> bytes:
        """Return what is kept, and read no more."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        return self.clear()

    def _begin_turn(self) -> None:
        self._next_turn = None
        try:
            self._take_turn()
        except Exception:  # as a transport does with whatever its protocol raises
            _log.failure("Unhandled error in reading input")
            self._transport.abortConnection()

    def _forget(self) -> None:
        """Let go of what was read, when that is the larger part: so each byte is copied once."""
        if self._position * 2 >= len(self.kept):
            self.kept = self.kept[self._position :]
            self._position = 0

    def _pause_or_resume(self) -> None:
        # A pause in the middle of a line would keep its end from arriving.
        has_enough = len(self) > _READ_AHEAD_BYTES and not self._awaits_line_end
        if has_enough and not self._is_paused:
            self._transport.pauseProducing()
        elif self._is_paused and not has_enough:
            self._transport.resumeProducing()
        self._is_paused = has_enough

    # --- input ---

    def take(self, limit: int) -> bytes:
        """Take at most ``limit`` bytes."""
        data = self.kept[self._position : self._position + limit]
        self._position += len(data)
        return data

    def put_back(self, size: int) -> None:
        """Have the last ``size`` bytes not been taken."""
        self._position -= size

    def take_line(self) -> bytes | None:
        """Take a line, without its CRLF; return None if its end is not there."""
        start = self._position
        end = self.kept.find(b"\r\n", start + self._searched)
        if end < 0:
            self._awaits_line_end = True
            return None
        self._searched = 0
        self._position = end + 2
        return self.kept[start:end]

    def peek(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes, and take nothing."""
        return self.kept[self._position : self._position + limit]

    def search(self, pattern: re.Pattern[bytes]) -> bool:
        """Return whether ``pattern``, of two bytes at most, is in a line whose end is not there.

        What was searched before is not searched again.
        """
        found = pattern.search(self.kept, self._position + self._searched)
        self._searched = max(0, len(self) - 1)  # the first of the two may be there already
        return found is not None
