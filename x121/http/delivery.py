"""A large body on its way: written in slices, as fast as the client takes them.

A transport keeps what it can't send, and Twisted's copies it first.  So it is given a slice at a
time: a connection holds one of its own, and shares the body with all others that send the same.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["SLICE_BYTES", "Delivery"]

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
    """Writes ``body`` to ``request``, and finishes it, from :meth:`start` on."""

    def __init__(self, request: Consumer, body: bytes) -> None:
        self._request = request
        self._rest = memoryview(body)
        self._is_paused = False

    def start(self) -> None:
        """Write as much as the transport takes now; the rest follows."""
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait until the transport has sent what it has."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Write the next slice, or several if the transport takes them; finish after the last."""
        self._is_paused = False
        while self._rest and not self._is_paused:
            data, self._rest = bytes(self._rest[:SLICE_BYTES]), self._rest[SLICE_BYTES:]
            self._request.write(data)
        if not self._rest and not self._request.is_finished:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """Let go of the body: the connection is gone."""
        self._rest = memoryview(b"")
