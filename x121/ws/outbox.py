"""What is on its way out of one connection: how much of it may wait for a slow reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
    bytes.  ``on_taken`` is called when the transport has taken all of it.
    """

    __slots__ = ("_held", "_is_paused", "_is_producer", "_max_bytes", "_on_taken", "_transport")

    def __init__(self, transport: Any, on_taken: Callable[[], object], *, max_bytes: int) -> None:
        self._transport = transport
        self._on_taken = on_taken
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

    @property
    def is_paused(self) -> bool:
        """Whether the peer doesn't take what is sent, or not yet."""
        return self._is_paused

    def flush(self) -> None:
        """Leave all of it to the transport, and what is written from now on, too."""
        if self._is_producer:
            self._is_producer = False
            self._transport.unregisterProducer()
        self._write_held()

    # --- what the transport says ---

    def pauseProducing(self) -> None:
        """Hold back from now on."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on, with what was held back first."""
        self._write_held()
        if not self._is_paused:
            self._on_taken()

    def _write_held(self) -> None:
        self._is_paused = False
        while self._held and not self._is_paused:
            chunk = bytes(self._held[:_CHUNK_BYTES])
            del self._held[:_CHUNK_BYTES]
            self._transport.write(chunk)
        if not self._held:
            self._held = None

    def stopProducing(self) -> None:
        """The connection is gone: forget what was held back, and whom to tell."""
        self._held = None
        self._on_taken = bool
