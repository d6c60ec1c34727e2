"""Delivery of large bodies: written in slices, as fast as the client reads.

A transport keeps data that it can't send yet, and Twisted's copies it first.  So it gets one slice
at a time: each connection holds one slice, and all that send the same body share it.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["MAX_JOINED_BYTES", "SLICE_BYTES", "Delivery"]

MAX_JOINED_BYTES = 16_384
"""The size up to which copying a body to its head takes less time than a second write."""
SLICE_BYTES = 81_920
"""The size of a slice: more than the 64 KiB after which a transport pauses its producer."""


class Consumer(Protocol):
    """The part of a request that a delivery uses."""

    @property
    def is_finished(self) -> bool: ...
    def write(self, data: bytes, /) -> None: ...
    def finish(self) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool, /) -> None: ...
    def unregisterProducer(self) -> None: ...


@implementer(IPushProducer)
class Delivery:
    """Writes ``body`` to ``request`` in slices, and finishes the request; see :meth:`start`."""

    def __init__(self, request: Consumer, body: bytes) -> None:
        self._request = request
        self._rest = memoryview(body)
        self._is_paused = False

    def start(self) -> None:
        """Write as much as the transport accepts now; the rest follows later."""
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait until the transport has sent its data."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Write slices until the transport pauses the producer; finish after the last one."""
        self._is_paused = False
        while self._rest and not self._is_paused:
            data, self._rest = bytes(self._rest[:SLICE_BYTES]), self._rest[SLICE_BYTES:]
            self._request.write(data)
        if not self._rest and not self._request.is_finished:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """Release the body: the connection is closed."""
        self._rest = memoryview(b"")
