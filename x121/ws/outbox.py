"""Send buffer of one connection, bounded for slow readers."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["PIECE_BYTES", "Outbox"]

# Buffered frames are joined up to this size: small ones would take more memory than their bytes.
_CHUNK_BYTES = 4096
PIECE_BYTES = 65_536
"""A larger frame is written in pieces, so that the transport signals how fast the peer reads it."""


@implementer(IPushProducer)
class Outbox:
    """Writes frames to ``transport`` as fast as it accepts them, and buffers up to ``max_bytes``.

    The transport pauses the outbox when its own buffer is over 64 KiB, and resumes it when that is
    empty: ``on_taken`` is called then.  A frame of any size is accepted while none waits.
    ``is_paused`` is True while the peer doesn't read what was sent.
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
        """Send a whole frame; return False, and do nothing, if too much is buffered already."""
        if not self.is_paused:
            if len(frame) <= PIECE_BYTES:
                self._transport.write(frame)  # not copied: all connections share a broadcast's
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
        """Discard the buffered frames, except the rest of one that is being sent."""
        self._held = None
        self.waiting_bytes = 0

    def make_room(self) -> None:
        """Lift the limit: accept a close frame, however much is buffered."""
        self._max_bytes = sys.maxsize

    def flush(self) -> None:
        """Pass everything to the transport, including what is written from now on."""
        if self._is_producer:
            self._is_producer = False
            self._transport.unregisterProducer()
        self._write_held()

    def close(self) -> None:
        """Discard the buffer and the callback: the connection is closed."""
        self.drop()
        self._begun = memoryview(b"")
        self._on_taken = bool

    # --- IPushProducer ---

    def pauseProducing(self) -> None:
        """Buffer frames from now on."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Write the buffered frames, and then new ones."""
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
        """Write a frame, if small without a copy: all connections share a broadcast's."""
        if len(frame) <= PIECE_BYTES:
            self._transport.write(frame)
        else:
            self._pass_on_large(memoryview(frame))

    def _pass_on_large(self, frame: memoryview) -> None:
        """Write as much of ``frame`` as the transport accepts now, and keep the rest."""
        while frame and not self.is_paused:
            self._transport.write(bytes(frame[:PIECE_BYTES]))
            frame = frame[PIECE_BYTES:]
        self._begun = frame

    def stopProducing(self) -> None:
        """Do nothing: ``connectionLost`` of the protocol is called next."""
