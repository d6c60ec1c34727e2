"""What is on its way out of one connection: how much of it may wait for a slow reader."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["Outbox"]

# Frames that are held back are put together up to this size, or small ones would take more room
# than their bytes.
_CHUNK_BYTES = 4096
# A large frame is written in pieces, so that the transport tells how the peer gets on with it.
_PIECE_BYTES = 65_536


@implementer(IPushProducer)
class Outbox:
    """Writes frames to ``transport`` as it takes them, and holds back at most ``max_bytes``.

    The transport says when it has enough (its buffer is over 64 KiB) and when it is empty again:
    ``on_taken`` is called then.  A frame that came when nothing waited is taken whatever its size.
    ``is_paused`` tells whether the peer doesn't take what is sent, or not yet.
    """

    __slots__ = (
        "_begun",
        "_held",
        "_is_producer",
        "_max_bytes",
        "_on_taken",
        "_transport",
        "is_paused",
        "waiting_bytes",
    )

    def __init__(self, transport: Any, on_taken: Callable[[], object], *, max_bytes: int) -> None:
        self._transport = transport
        self._on_taken = on_taken
        self._max_bytes = max_bytes
        self._begun = memoryview(b"")
        self._held: deque[bytes] | None = None
        self.waiting_bytes = 0
        self.is_paused = False
        self._is_producer = True
        transport.registerProducer(self, True)

    def write(self, frame: bytes) -> bool:
        """Send a whole frame; return False, and do nothing, if too much is waiting already."""
        if not self.is_paused:
            if len(frame) <= _PIECE_BYTES:
                self._transport.write(frame)  # as it is, so that a broadcast's is copied for nobody
            else:
                self._pass_on_large(memoryview(frame))
            return True
        if self.waiting_bytes + len(frame) > self._max_bytes:
            return False
        if self._held is None:
            self._held = deque()
        self.waiting_bytes += len(frame)
        if self._held and len(self._held[-1]) + len(frame) <= _CHUNK_BYTES:
            self._held[-1] += frame
        else:
            self._held.append(frame)
        return True

    def drop(self) -> None:
        """Forget the frames that are held back, but for the rest of one that is being sent."""
        self._held = None
        self.waiting_bytes = 0

    def make_room(self) -> None:
        """Take what is written from now on, which is a last word, however much waits."""
        self._max_bytes = sys.maxsize

    def flush(self) -> None:
        """Leave all of it to the transport, and what is written from now on, too."""
        if self._is_producer:
            self._is_producer = False
            self._transport.unregisterProducer()
        self._write_held()

    def close(self) -> None:
        """Forget what was held back, and whom to tell: the connection is gone."""
        self.drop()
        self._begun = memoryview(b"")
        self._on_taken = bool

    # --- what the transport says ---

    def pauseProducing(self) -> None:
        """Hold back from now on."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Go on, with what was held back first."""
        self._write_held()
        self._on_taken()

    def _write_held(self) -> None:
        self.is_paused = False
        self._pass_on_large(self._begun)
        while self._held and not self.is_paused:
            chunk = self._held.popleft()
            self.waiting_bytes -= len(chunk)
            self._pass_on(chunk)
        if not self._held:
            self._held = None

    def _pass_on(self, frame: bytes) -> None:
        """Write a frame: as it is, most often, so that a broadcast's is copied for nobody."""
        if len(frame) <= _PIECE_BYTES:
            self._transport.write(frame)
        else:
            self._pass_on_large(memoryview(frame))

    def _pass_on_large(self, frame: memoryview) -> None:
        """Write as much of ``frame`` as the transport takes now, and keep the rest."""
        while frame and not self.is_paused:
            self._transport.write(bytes(frame[:_PIECE_BYTES]))
            frame = frame[_PIECE_BYTES:]
        self._begun = frame

    def stopProducing(self) -> None:
        """Do nothing: the protocol hears next that the connection is gone."""
