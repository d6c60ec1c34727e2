"""What is on its way out of one connection: how much of it may wait for a slow reader."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["Outbox"]

_CHUNK_BYTES = 65_536


@implementer(IPushProducer)
class Outbox:
    """Writes to ``transport`` as much as that takes, and holds back at most ``max_bytes``.

    The transport says when it has enough (its buffer is over 64 KiB) and when it is empty again.
    What is held back lies in one block, so that many small frames take no more room than their
    bytes.
    """

    __slots__ = ("_held", "_is_paused", "_is_producer", "_max_bytes", "_transport")

    def __init__(self, transport: Any, *, max_bytes: int) -> None:
        self._transport = transport
        self._max_bytes = max_bytes
        self._held: bytearray | None = None
        self._is_paused = False
        self._is_producer = True
        transport.registerProducer(self, True)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes are held back."""
        return len(self._held) if self._held is not None else 0

    def write(self, data: bytes) -> bool:
        """Send ``data``; return False, and do nothing, if too much is waiting already."""
        if not self._is_paused:
            self._transport.write(data)
            return True
        if self.waiting_bytes + len(data) > self._max_bytes:
            return False
        if self._held is None:
            self._held = bytearray()
        self._held += data
        return True

    def drop(self) -> None:
        """Forget what is held back.  What the transport has is sent."""
        self._held = None

    def make_room(self) -> None:
        """Take what is written from now on, which is a last word, however much waits."""
        self._max_bytes = sys.maxsize

    def flush(self) -> None:
        """Leave all of it to the transport, and what is written from now on, too."""
        if self._is_producer:
            self._is_producer = False
            self._transport.unregisterProducer()
        self.resumeProducing()

    # --- what the transport says ---

    def pauseProducing(self) -> None:
        """Hold back from now on."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on, with what was held back first."""
        self._is_paused = False
        while self._held and not self._is_paused:
            chunk = bytes(self._held[:_CHUNK_BYTES])
            del self._held[:_CHUNK_BYTES]
            self._transport.write(chunk)
        if not self._held:
            self._held = None

    def stopProducing(self) -> None:
        """The connection is gone: forget what was held back."""
        self._held = None
