"""Both ends of a connection: a protocol that records what it is told, and a plain socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.reactor.reactors import until

__all__ = ["HalfCloseable", "Listener", "Peer", "Recorder"]


class Recorder(Protocol):
    """Records what it is told as ``events``; what is received in parts is put together."""

    transport: Any

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        if isinstance(self.events[-1], bytes):
            self.events[-1] += data
        else:
            self.events.append(data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.events.append(f"lost: {reason.type.__name__}")  # type: ignore[union-attr]

    @property
    def received(self) -> bytes:
        """All that was received."""
        return b"".join(event for event in self.events if isinstance(event, bytes))

    @property
    def is_lost(self) -> bool:
        """Whether the connection was lost."""
        return str(self.events[-1]).startswith("lost")


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """A recorder that goes on when one direction is closed."""

    def readConnectionLost(self) -> None:
        self.events.append("end of input")

    def writeConnectionLost(self) -> None:
        self.events.append("end of output")


class Peer:
    """A client of ``address``, which does nothing by itself; ``name`` is its own address."""

    made: ClassVar[list[Peer]] = []

    def __init__(self, address: Any, family: int = socket.AF_INET, name: Any = None) -> None:
        self.made.append(self)
        self.socket = socket.socket(family)
        if name is not None:
            self.socket.bind(name)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.received = b""
        self.end: str | None = None

    @classmethod
    def close_all(cls) -> None:
        """Close every peer that a test has made."""
        while cls.made:
            cls.made.pop().socket.close()

    def send(self, data: bytes) -> None:
        """Send ``data``, for which there is room."""
        assert self.socket.send(data) == len(data)

    def take(self, size: int = 1 << 20) -> bytes:
        """Receive at most ``size`` bytes of what is there; see ``end`` whether there is no more."""
        data = b""
        try:
            data = self.socket.recv(size)
            if not data:
                self.end = "end"
        except BlockingIOError:
            pass
        except ConnectionError:
            self.end = "reset"
        self.received += data
        return data

    def take_all(self) -> str | None:
        """Receive all that is there; return ``end``."""
        while self.take():
            pass
        return self.end

    def shutdown(self) -> None:
        """Send no more."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Listener(ServerFactory):
    """Listens on ``reactor``, and remembers the protocols that it makes."""

    noisy = False

    def __init__(self, reactor: Any, make: Callable[[], Recorder] = Recorder) -> None:
        self.reactor = reactor
        self.protocols: list[Recorder] = []
        self._make = make
        self.port = reactor.listenTCP(0, self, interface="127.0.0.1")

    def buildProtocol(self, addr: Any) -> Recorder:
        protocol = self._make()
        protocol.factory = self
        self.protocols.append(protocol)
        return protocol

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host = self.port.getHost()
        return host.host, host.port

    async def connect(self) -> tuple[Recorder, Peer]:
        """Return both ends of a new connection."""
        before = len(self.protocols)
        peer = Peer(self.address)
        await until(
            self.reactor, lambda: len(self.protocols) > before and self.protocols[-1].events
        )
        return self.protocols[-1], peer
