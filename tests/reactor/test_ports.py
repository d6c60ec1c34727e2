"""Ports: how connections are accepted, refused and left waiting."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import CannotListenError, UnsupportedAddressFamily
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import Clock, deferLater
from twisted.python.sendmsg import SCM_RIGHTS, sendmsg
from zope.interface import implementer

from tests.reactor.connections import Listener, Peer, Recorder
from tests.reactor.reactors import count_descriptors, logged, run, until
from x121.http.listening import stop_listening
from x121.reactor.transport import UNIXTransport

ROOT = Path(__file__).parents[2]


def test_stop_listening(kind: str) -> None:
    """The Deferred fires when the port is closed; connections that were made stay."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        protocol, peer = await listener.connect()
        address = listener.address
        await listener.port.stopListening()
        with pytest.raises(ConnectionRefusedError):
            Peer(address)
        peer.send(b"still here")
        await until(reactor, lambda: protocol.received == b"still here")

    run(kind, scenario)


def test_nobody_comes_to_a_port_that_was_stopped(kind: str) -> None:
    """A connection that is accepted as its port stops is closed, and its factory not asked."""

    async def scenario(reactor: Any) -> tuple[str | None, int]:
        listener = Listener(reactor)
        peer = Peer(listener.address)
        stopped = listener.port.stopListening()
        await stopped
        await until(reactor, lambda: peer.take_all())
        return peer.end, len(listener.protocols)

    end, protocols = run(kind, scenario)
    assert end in ("reset", "end")
    assert protocols == 0


def test_pausing_a_port(kind: str) -> None:
    """Connections to a port that is paused wait in the kernel until it resumes."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        listener.port.pauseProducing()
        listener.port.pauseProducing()
        peer = Peer(listener.address)
        peer.send(b"waiting")
        for _ in range(10):
            await deferLater(reactor, 0)
        assert listener.protocols == []
        listener.port.resumeProducing()
        listener.port.resumeProducing()
        await until(reactor, lambda: listener.protocols and listener.protocols[0].received)

    run(kind, scenario)


def test_listening_where_somebody_listens(kind: str) -> None:
    """A port that is taken is an error at once, and leaves nothing open."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        before = count_descriptors()
        for _ in range(3):
            with pytest.raises(CannotListenError, match="Address already in use"):
                reactor.listenTCP(listener.address[1], ServerFactory(), interface="127.0.0.1")
        assert count_descriptors() == before

    run(kind, scenario)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_adopted_port(kind: str, family: int, tmp_path: Path) -> None:
    """A socket that listens already is served, whatever its family."""
    addresses: dict[int, Any] = {
        socket.AF_INET: ("127.0.0.1", 0),
        socket.AF_INET6: ("::1", 0),
        socket.AF_UNIX: str(tmp_path / "socket"),
    }

    async def scenario(reactor: Any) -> bytes:
        own = socket.socket(family)
        own.bind(addresses[family])
        own.listen()
        own.setblocking(False)
        listener = Listener(reactor)
        port = reactor.adoptStreamPort(own.fileno(), family, listener)
        address = own.getsockname()
        own.close()
        peer = Peer(address, family)
        peer.send(b"x")
        await until(reactor, lambda: listener.protocols and listener.protocols[0].received)
        await port.stopListening()
        return listener.protocols[0].received

    assert run(kind, scenario) == b"x"


def test_adopting_what_is_none(kind: str) -> None:
    """A family that is not supported is refused."""

    async def scenario(reactor: Any) -> None:
        with pytest.raises(UnsupportedAddressFamily):
            reactor.adoptStreamPort(0, 1234, ServerFactory())

    run(kind, scenario)


def test_refusing_factory(kind: str) -> None:
    """A connection that the factory doesn't want is closed."""

    class Refusing(Listener):
        refused = 0

        def buildProtocol(self, addr: Any) -> Any:
            self.refused += 1
            if self.refused == 3:
                return super().buildProtocol(addr)
            return None

    async def scenario(reactor: Any) -> list[str | None]:
        listener = Refusing(reactor)
        peers = [Peer(listener.address) for _ in range(2)]
        await until(reactor, lambda: listener.refused == 2)
        await listener.connect()
        await until(reactor, lambda: all(peer.take_all() for peer in peers))
        return [peer.end for peer in peers]

    assert run(kind, scenario) == ["end", "end"]


def test_peer_that_is_gone_already(kind: str) -> None:
    """A connection that was reset before it is accepted is lost, and nothing of it is left."""

    async def scenario(reactor: Any) -> tuple[bool, bool]:
        listener = Listener(reactor)
        listener.port.pauseProducing()
        Peer(listener.address).reset()
        listener.port.resumeProducing()
        await until(reactor, lambda: listener.protocols and listener.protocols[0].is_lost)
        await listener.connect()
        gone, there = (protocol.transport for protocol in listener.protocols)
        readers = reactor.getReaders()
        return there in readers, gone in readers

    with logged() as failures:
        assert run(kind, scenario) == (True, False)
    assert failures == []


def queue_connections(reactor: Any, listener: Listener, count: int) -> Any:
    """Return a port that is paused, and that ``count`` connections wait to be accepted by."""
    port = reactor.listenTCP(0, listener, backlog=count, interface="127.0.0.1")
    port.pauseProducing()
    for _ in range(count):
        Peer(("127.0.0.1", port.getHost().port))
    return port


def test_accepting_many(kind: str) -> None:
    """A turn accepts many of the connections that wait, but not all of any number."""

    async def scenario(reactor: Any) -> list[int]:
        listener = Listener(reactor)
        queue_connections(reactor, listener, 150).resumeProducing()
        accepted = [0]
        while accepted[-1] < 150:
            await deferLater(reactor, 0)
            accepted.append(len(listener.protocols))
        return [after - before for before, after in itertools.pairwise(accepted)]

    by_turn = run(kind, scenario)
    assert max(by_turn) <= 100
    assert len([accepted for accepted in by_turn if accepted]) <= 5


def test_stopping_serves_those_who_wait(kind: str) -> None:
    """A port that stops accepts every connection that waits, and refuses any other one."""

    async def scenario(reactor: Any) -> int:
        listener = Listener(reactor)
        port = queue_connections(reactor, listener, 150)
        address = port.getHost()
        await stop_listening(port, clock=reactor)
        with pytest.raises(ConnectionRefusedError):
            Peer((address.host, address.port))
        listener.protocols[-1].transport.write(b"served")
        await until(reactor, lambda: Peer.made[-2].take())
        return len(listener.protocols)

    assert run(kind, scenario) == 150


def test_stopping_ends() -> None:
    """A port that stops while others connect accepts no more than could wait when it began."""

    class Flooded:
        sessionno = 7
        backlog = 10

        def doRead(self) -> None:
            self.sessionno += 4

        def stopListening(self) -> None:
            """Nothing is to be closed."""

    port, clock = Flooded(), Clock()
    stop_listening(port, clock=clock)
    clock.advance(0)
    assert port.sessionno == 19


def test_numbers(kind: str) -> None:
    """Every connection of a port has a number."""

    async def scenario(reactor: Any) -> list[int]:
        listener = Listener(reactor)
        return [(await listener.connect())[0].transport.sessionno for _ in range(3)]

    assert run(kind, scenario) == [0, 1, 2]


@implementer(IFileDescriptorReceiver)
class Receiver(Recorder):
    """Takes file descriptors."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self.events.append(os.read(descriptor, 100))
        os.close(descriptor)


@pytest.mark.parametrize("wanted", [False, True])
def test_file_descriptors(kind: str, wanted: bool, tmp_path: Path) -> None:
    """A protocol that takes file descriptors gets them; for any other one they are closed."""

    async def scenario(reactor: Any) -> list[Any]:
        listener = Listener(reactor, Receiver if wanted else Recorder)
        reactor.listenUNIX(str(tmp_path / "socket"), listener)
        peer = Peer(str(tmp_path / "socket"), socket.AF_UNIX)
        readable, writable = os.pipe()
        os.write(writable, b"passed on")
        passed = readable.to_bytes(4, sys.byteorder)
        sendmsg(peer.socket, b"x", [(socket.SOL_SOCKET, SCM_RIGHTS, passed)])
        os.close(readable)
        await until(reactor, lambda: listener.protocols and listener.protocols[0].received[-1:])
        with pytest.raises(BrokenPipeError):  # nobody has the other end any more
            os.write(writable, b"x")
        os.close(writable)
        is_ours = isinstance(listener.protocols[0].transport, UNIXTransport)
        assert is_ours is (kind == "uvloop" and not wanted)
        return [*listener.protocols[0].events]

    assert run(kind, scenario) == ["made", b"passed onx" if wanted else b"x"]


EXHAUSTED = """
import os, resource, socket, sys
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import globalLogPublisher, formatEvent
from tests.reactor.reactors import run, until

def say(event):
    if "Re-reserving" in str(event.get("log_format")):
        print(formatEvent(event))

globalLogPublisher.addObserver(say)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

async def scenario(reactor):
    made, lost = [], []
    class Counted(Protocol):
        def connectionMade(self):
            made.append(self)
        def connectionLost(self, reason):
            lost.append(self)
    factory = ServerFactory.forProtocol(Counted)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    address = port.getHost().host, port.getHost().port
    peers = []
    while True:
        free = os.dup(0)
        os.close(free)
        if free > 61:
            break
        peers.append(socket.create_connection(address))
        await until(reactor, lambda: len(made) == len(peers))
    last = [socket.socket() for _ in range(64 - free)]
    for one in last:
        one.connect(address)
    # There is none left to accept these with: they are closed at once.
    for one in last:
        one.setblocking(False)
    def is_closed(one):
        try:
            return one.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
    for one in last:
        await until(reactor, lambda: is_closed(one))
    assert len(made) == len(peers), "nobody was told of them"
    for one in [*last, *peers]:
        one.close()
    await until(reactor, lambda: len(lost) == len(made))
    socket.create_connection(address)
    await until(reactor, lambda: len(made) == len(peers) + 1)
    print("accepts again")

run("uvloop", scenario)
"""


def test_no_file_descriptors_left() -> None:
    """Connections for which there is no descriptor are closed at once, and the log told why."""
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    warning, end = done.stdout.splitlines()
    assert warning.startswith("Re-reserving EMFILE recovery file descriptor")
    assert end == "accepts again"
