"""A write that fails, because the peer has reset the connection: the same on both reactors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.reactor.connections import HalfCloseable, Listener, Peer, Recorder
from tests.reactor.reactors import run, until


class Pull:
    """A producer that is asked for what it writes."""

    def __init__(self, protocol: Recorder) -> None:
        self._protocol = protocol

    def resumeProducing(self) -> None:
        """Write some."""
        self._protocol.events.append("resumed")
        self._protocol.transport.write(b"x" * 1000)

    def stopProducing(self) -> None:
        """Note that nobody wants more."""
        self._protocol.events.append("stopped")


def write_and_close(protocol: Recorder) -> None:
    """Write, and close when that is sent."""
    protocol.transport.write(b"x" * 1000)
    protocol.transport.loseConnection()


def write_and_half_close(protocol: Recorder) -> None:
    """Write, and close the sending side when that is sent."""
    protocol.transport.write(b"x" * 1000)
    protocol.transport.loseWriteConnection()


def produce(protocol: Recorder) -> None:
    """Have a producer write."""
    protocol.transport.registerProducer(Pull(protocol), False)


class Writing(HalfCloseable):
    """Writes when the first bytes come, just after ``peer`` has reset the connection."""

    peer: Peer
    act: Callable[[Recorder], None]

    def dataReceived(self, data: bytes) -> None:
        self.peer.reset()
        self.act(self)


@pytest.mark.parametrize(
    ("act", "events"),
    [(write_and_close, []), (write_and_half_close, []), (produce, ["resumed", "stopped"])],
    ids=["close", "half-close", "pull producer"],
)
def test_reset_before_the_write(
    kind: str, act: Callable[[Recorder], None], events: list[str]
) -> None:
    """What could not be sent was not sent: the connection is lost, and nothing else happens."""

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor, Writing).connect()
        assert isinstance(protocol, Writing)
        protocol.peer = peer
        protocol.act = act
        peer.send(b"go")
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    assert run(kind, scenario) == ["made", *events, "lost: ConnectionLost"]
