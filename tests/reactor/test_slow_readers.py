"""Slow readers over TCP, on both reactors: what a connection holds, and the least rate."""

from __future__ import annotations

import re
import socket
import tracemalloc
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.reactor.connections import Peer
from tests.reactor.reactors import run, until
from x121.http.delivery import SLICE_BYTES
from x121.http.request import Request
from x121.http.send_rate import WINDOW_SECS
from x121.http.sockets import acknowledged_bytes, bytes_to_read
from x121.testing.app import App
from x121.web.router import Router

BODY = bytes(8 << 20)  # more than the kernel's buffers hold
RATE = 20_000
READERS = 20
PAGE_BYTES = 10_000
_REQUEST = b"GET /test HTTP/1.1\r\nHost: a\r\n\r\n"

feature = Router()


@feature.route("/")
def large(request: Request) -> bytes:
    return BODY


@feature.route("/pages/<number>")
def page(request: Request, number: str) -> str:
    return number.rjust(PAGE_BYTES)


class Server:
    """A server on ``reactor`` whose deadlines have a clock of their own."""

    def __init__(self, reactor: Any, app: App) -> None:
        self.app = app
        self._reactor = reactor
        self._port = reactor.listenTCP(0, app.site, interface="127.0.0.1")

    async def blocked_reader(self) -> Peer:
        """Return a client whose response is on its way, and for whom the kernel takes no more."""
        peer, channel = await self.connect()
        peer.send(_REQUEST)
        await until(self._reactor, lambda: channel.is_sending)
        await self._settled(channel.transport)
        return peer

    async def connect(self) -> tuple[Peer, Any]:
        """Return a client for whom the kernel takes little, and its channel."""
        before = self._channels()
        peer = Peer(("127.0.0.1", self._port.getHost().port))
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        await until(self._reactor, lambda: self._channels() - before)
        (channel,) = self._channels() - before
        return peer, channel

    async def turns(self, count: int) -> None:
        """Have the reactor turn so often, and the connections with it."""
        for _ in range(count):
            self.app.clock.advance(0)
            await deferLater(self._reactor, 0)

    async def _settled(self, transport: Any) -> None:
        """Wait until the client's system has acknowledged all that it will."""
        last = -1
        while acknowledged_bytes(transport) != last:
            last = acknowledged_bytes(transport)
            for _ in range(20):
                await deferLater(self._reactor, 0)

    async def take(self, peer: Peer, size: int) -> None:
        """Have ``peer`` read so many bytes more, and its system acknowledge them."""
        wanted = len(peer.received) + size

        def has_taken() -> bool:
            peer.take(min(65_536, wanted - len(peer.received)))
            return len(peer.received) >= wanted

        await until(self._reactor, has_taken)
        (channel,) = self._channels()
        await self._settled(channel.transport)

    def _channels(self) -> set[Any]:
        return set(self.app.site._channels)

    async def close(self) -> None:
        await self._port.stopListening()
        self.app.site.drop()
        self.app.clock.advance(0)
        await until(self._reactor, lambda: not self._channels())


def test_what_a_connection_holds(kind: str) -> None:
    """Readers that take nothing share the body, and each holds a slice of its own."""

    async def scenario(reactor: Any) -> int:
        with App(feature) as app:
            server = Server(reactor, app)
            await server.blocked_reader()
            tracemalloc.start()
            for _ in range(READERS):
                await server.blocked_reader()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            await server.close()
            return held

    assert run(kind, scenario) < READERS * 2 * SLICE_BYTES


def test_pipelined(kind: str) -> None:
    """Requests of a client that takes no responses are not read on, and none of them is lost."""
    head = b"GET /test/pages/%d HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 1000 + b"\r\n\r\n"
    requests = [head % number for number in range(200)]

    async def scenario(reactor: Any) -> list[int]:
        with App(feature) as app:
            server = Server(reactor, app)
            peer, channel = await server.connect()
            channel.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            for part in (requests[:150], requests[150:]):
                peer.send(b"".join(part))
                await server.turns(100)
            assert len(app.log) < 100, "so much the kernel doesn't take"
            assert bytes_to_read(channel.transport) > 0
            while not peer.received.endswith(b" 199"):
                peer.take()
                await server.turns(1)
            await server.close()
            return [int(number) for number in re.findall(rb" {9}(\d+)(?=HTTP|$)", peer.received)]

    assert run(kind, scenario) == list(range(200))


@implementer(IPushProducer)
class Producer:
    """Notes whether it is paused."""

    is_paused = False

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def stopProducing(self) -> None: ...


def test_late_producer(kind: str) -> None:
    """A producer that is registered when much waits already is paused as it writes."""
    paused = []
    late = Router()

    @late.route("/")
    def produce(request: Request) -> bytes:
        request.write(BODY)
        producer = Producer()
        request.registerProducer(producer, True)
        request.write(b"x")
        paused.append(producer.is_paused)
        request.unregisterProducer()
        return b""

    async def scenario(reactor: Any) -> None:
        with App(late) as app:
            server = Server(reactor, app)
            await server.blocked_reader()
            await server.close()

    run(kind, scenario)
    assert paused == [True]


def test_rate(kind: str) -> None:
    """A client that takes the least rate is kept, and dropped in a window in which it doesn't."""

    async def scenario(reactor: Any) -> list[int]:
        with App(feature, MIN_SEND_BYTES_PER_SEC=str(RATE)) as app:
            server = Server(reactor, app)
            peer = await server.blocked_reader()
            dropped = []
            for share in (1.5, 1.5, 0.3):
                await server.take(peer, int(RATE * WINDOW_SECS * share))
                app.clock.advance(WINDOW_SECS)
                dropped.append(len(app.lines("x121.http")))
            await until(reactor, lambda: not app.site.connections)
            (line,) = app.lines("x121.http")
            assert line["bytes"] >= 3 * RATE * WINDOW_SECS
            await server.close()
            return dropped

    assert run(kind, scenario) == [0, 0, 1]
