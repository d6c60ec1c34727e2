"""A connection, as its protocol knows it: the same on Twisted's reactor and on ours."""

from __future__ import annotations

import gc
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    ILoggingContext,
    IPullProducer,
    IPushProducer,
    ISystemHandle,
    ITLSTransport,
)
from twisted.internet.task import deferLater
from twisted.python import context
from twisted.python.log import ILogContext
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.reactor.connections import HalfCloseable, Listener, Peer, Recorder
from tests.reactor.reactors import count_descriptors, logged, run, until

# More than the kernel takes for a peer that reads nothing.
LARGE = os.urandom(1 << 20) * 12


async def turns(reactor: Any, count: int = 20) -> None:
    """Let the reactor come to everything that could happen by now."""
    for _ in range(count):
        await deferLater(reactor, 0)


# --- writing ---


def test_writes(kind: str) -> None:
    """What is written arrives, in order; nothing is called back meanwhile."""

    async def scenario(reactor: Any) -> bytes:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.write(b"a")
        protocol.transport.write(b"")
        protocol.transport.writeSequence([b"b", b"", b"c"])
        await until(reactor, lambda: peer.take_all() or len(peer.received) == 3)
        assert protocol.events == ["made"]
        return peer.received

    assert run(kind, scenario) == b"abc"


def test_writes_of_one_turn(kind: str) -> None:
    """What is written in one turn arrives in one piece."""

    async def scenario(reactor: Any) -> list[bytes]:
        protocol, peer = await Listener(reactor).connect()
        pieces = [b"a" * 10, b"b" * 20_000, b"c"]
        for piece in pieces:
            protocol.transport.write(piece)
        await until(reactor, lambda: peer.take())
        return [peer.received, b"".join(pieces)]

    received, written = run(kind, scenario)
    assert received == written


@pytest.mark.parametrize("data", ["text", bytearray(b"x"), memoryview(b"x"), None])
def test_writes_bytes_only(kind: str, data: Any) -> None:
    """What is not bytes is refused, and does no harm."""

    async def scenario(reactor: Any) -> bytes:
        protocol, peer = await Listener(reactor).connect()
        for write in (
            protocol.transport.write,
            lambda data: protocol.transport.writeSequence([data]),
        ):
            with pytest.raises(TypeError, match="Data must be bytes"):
                write(data)
        protocol.transport.write(b"still here")
        await until(reactor, peer.take)
        return peer.received

    assert run(kind, scenario) == b"still here"


def test_large_writes_to_a_slow_reader(kind: str) -> None:
    """A peer that reads now and then gets everything, and then the end."""

    async def scenario(reactor: Any) -> tuple[bytes, list[Any]]:
        protocol, peer = await Listener(reactor).connect()
        for start in range(0, len(LARGE), 100_000):
            protocol.transport.write(LARGE[start : start + 100_000])
        protocol.transport.loseConnection()
        await turns(reactor)
        assert protocol.events == ["made"], "it waits for the peer"
        await until(reactor, lambda: peer.take(50_000) == b"" and peer.end)
        await until(reactor, lambda: protocol.is_lost)
        return peer.received, protocol.events

    received, events = run(kind, scenario)
    assert received == LARGE
    assert events == ["made", "lost: ConnectionDone"]


def test_little_is_left_to_send(kind: str, tmp_path: Path) -> None:
    """However little the kernel had no room for, it is sent before the connection is closed."""

    async def scenario(reactor: Any) -> list[int]:
        listener = Listener(reactor)
        reactor.listenUNIX(str(tmp_path / "socket"), listener)
        missing: list[int] = []
        for size in range(5_000, 100_000, 5_000):
            peer = Peer(str(tmp_path / "socket"), socket.AF_UNIX)
            await until(reactor, lambda: len(listener.protocols) == size // 5_000)  # noqa: B023
            transport = listener.protocols[-1].transport
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport.write(LARGE[:size])
            transport.loseConnection()
            await turns(reactor, 5)
            await until(reactor, peer.take_all)
            if peer.received != LARGE[:size]:
                missing.append(size)
        return missing

    assert run(kind, scenario) == []


# --- the end ---


def test_lose_connection(kind: str) -> None:
    """The connection ends in a later turn, once; what was written before and after it is sent."""

    async def scenario(reactor: Any) -> tuple[bytes, str | None, list[Any]]:
        protocol, peer = await Listener(reactor).connect()
        transport = protocol.transport
        transport.write(b"before ")
        transport.loseConnection()
        transport.loseConnection()
        transport.write(b"and after")
        assert protocol.events == ["made"]
        assert (transport.connected, transport.disconnecting) == (True, True)
        await until(reactor, lambda: peer.take_all())
        await turns(reactor)
        assert (transport.connected, transport.disconnected) == (False, True)
        transport.write(b"lost")
        transport.writeSequence([b"lost"])
        transport.loseConnection()
        transport.abortConnection()
        transport.resumeProducing()
        await turns(reactor)
        return peer.received, peer.end, protocol.events

    expected = (b"before and after", "end", ["made", "lost: ConnectionDone"])
    assert run(kind, scenario) == expected


def test_nothing_is_received_after_lose_connection(kind: str) -> None:
    """A protocol that closes its connection is told nothing any more of what arrives."""

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.write(LARGE)
        protocol.transport.loseConnection()
        protocol.transport.resumeProducing()
        peer.send(b"too late")
        await until(reactor, lambda: peer.take_all())
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    assert run(kind, scenario) == ["made", "lost: ConnectionDone"]


def test_closing_with_something_unread(kind: str) -> None:
    """What was sent arrives, and then the end, though nobody reads what the peer has sent."""

    async def scenario(reactor: Any) -> tuple[bytes, str | None]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.pauseProducing()
        peer.send(b"not read")
        await turns(reactor)
        protocol.transport.write(b"last words")
        protocol.transport.loseConnection()
        await until(reactor, lambda: protocol.is_lost)
        await until(reactor, lambda: peer.take_all())
        return peer.received, peer.end

    assert run(kind, scenario) == (b"last words", "end")


def test_abort(kind: str) -> None:
    """The connection is reset in a later turn, once, and what waited is not sent."""

    async def scenario(reactor: Any) -> tuple[str | None, list[Any], int]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.write(LARGE)
        await turns(reactor)
        protocol.transport.abortConnection()
        protocol.transport.abortConnection()
        protocol.transport.loseConnection()
        protocol.transport.write(b"lost")
        assert protocol.events == ["made"]
        await until(reactor, lambda: protocol.is_lost)
        await until(reactor, lambda: peer.take_all())
        return peer.end, protocol.events, len(peer.received)

    end, events, size = run(kind, scenario)
    assert (end, events) == ("reset", ["made", "lost: ConnectionAborted"])
    assert size < len(LARGE)


def test_peer_closes(kind: str) -> None:
    """What the peer sent before it left is received; its leaving is a clean end."""

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor).connect()
        peer.send(b"bye")
        peer.socket.close()
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    assert run(kind, scenario) == ["made", b"bye", "lost: ConnectionDone"]


@pytest.mark.parametrize("writes", [False, True])
def test_peer_resets(kind: str, writes: bool) -> None:
    """A reset is a lost connection, whether it is found by reading or by writing."""

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor).connect()
        if writes:
            protocol.transport.pauseProducing()
            await turns(reactor)
        peer.reset()
        while not protocol.is_lost:
            if writes:
                protocol.transport.write(b"x")
            await deferLater(reactor, 0)
        await turns(reactor)
        return protocol.events

    assert run(kind, scenario) == ["made", "lost: ConnectionLost"]


def test_half_closed_by_the_peer(kind: str) -> None:
    """A protocol that can be half-closed goes on writing when the peer sends no more."""

    async def scenario(reactor: Any) -> tuple[list[Any], bytes]:
        protocol, peer = await Listener(reactor, HalfCloseable).connect()
        peer.send(b"question")
        peer.shutdown()
        await until(reactor, lambda: "end of input" in protocol.events)
        protocol.transport.resumeProducing()
        protocol.transport.write(b"answer")
        await until(reactor, peer.take)
        protocol.transport.loseConnection()
        await until(reactor, lambda: peer.take_all())
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events, peer.received

    events = ["made", b"question", "end of input", "lost: ConnectionDone"]
    if kind == "stock":
        events.insert(3, "end of input")  # which Twisted finds again when it reads again
    assert run(kind, scenario) == (events, b"answer")


def test_half_closed_by_us(kind: str) -> None:
    """The peer gets all that was written and then the end, and may still send."""

    async def scenario(reactor: Any) -> tuple[list[Any], bytes]:
        protocol, peer = await Listener(reactor, HalfCloseable).connect()
        protocol.transport.write(LARGE)
        protocol.transport.loseWriteConnection()
        assert protocol.events == ["made"]
        await until(reactor, lambda: peer.take_all())
        assert peer.end == "end"
        await until(reactor, lambda: "end of output" in protocol.events)
        protocol.transport.write(b"lost")
        peer.send(b"still")
        await until(reactor, lambda: protocol.received == b"still")
        protocol.transport.loseWriteConnection()
        protocol.transport.loseConnection()
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events, peer.received

    events, received = run(kind, scenario)
    assert events == ["made", "end of output", b"still", "lost: ConnectionDone"]
    assert received == LARGE


def test_protocol_is_let_go(kind: str) -> None:
    """Nothing keeps a protocol whose connection is lost, not even until garbage is collected."""

    async def scenario(reactor: Any) -> object:
        listener = Listener(reactor)
        protocol, peer = await listener.connect()
        known = weakref.ref(protocol), weakref.ref(protocol.transport)
        peer.send(b"x")
        peer.shutdown()
        await until(reactor, lambda: protocol.is_lost)
        await turns(reactor)
        listener.protocols.clear()
        protocol = None  # type: ignore[assignment]
        return [one() for one in known]

    gc.collect()
    gc.disable()
    try:
        assert run(kind, scenario) == [None, None]
    finally:
        gc.enable()


# --- protocols that fail ---


class Failing(HalfCloseable):
    """Fails where ``where`` says."""

    where = ""

    def _maybe_fail(self, where: str) -> None:
        if where == self.where:
            raise ZeroDivisionError(where)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._maybe_fail("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(b"never sent")
        self._maybe_fail("dataReceived")

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._maybe_fail("readConnectionLost")

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        self._maybe_fail("writeConnectionLost")

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self._maybe_fail("connectionLost")


@pytest.mark.parametrize(
    ("where", "events"),
    [
        ("dataReceived", [b"x"]),
        ("readConnectionLost", [b"x", "end of input"]),
        ("writeConnectionLost", ["end of output"]),
    ],
)
def test_failing_protocol(kind: str, where: str, events: list[Any]) -> None:
    """What a protocol raises is logged once, and ends its connection and no other."""

    class Here(Failing):
        pass

    Here.where = where

    async def scenario(reactor: Any) -> tuple[list[Any], str | None]:
        listener = Listener(reactor, Here)
        protocol, peer = await listener.connect()
        if where == "writeConnectionLost":
            protocol.transport.loseWriteConnection()
        else:
            peer.send(b"x")
            if where == "readConnectionLost":
                await until(reactor, lambda: peer.take())
                peer.shutdown()
        await until(reactor, lambda: protocol.is_lost)
        await until(reactor, lambda: peer.take_all())
        other, _ = await listener.connect()
        assert other.events == ["made"]
        return protocol.events, peer.end

    with logged() as failures:
        found, _ = run(kind, scenario)
    assert found == ["made", *events, "lost: ZeroDivisionError"]
    assert failures == [ZeroDivisionError]


@pytest.mark.parametrize("where", ["connectionMade", "connectionLost"])
def test_failing_at_either_end(kind: str, where: str) -> None:
    """A protocol that fails to begin keeps its connection; one that fails at the end has ended."""

    class Here(Failing):
        pass

    Here.where = where

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor, Here).connect()
        peer.send(b"x")
        await until(reactor, lambda: protocol.received)
        peer.socket.close()
        await until(reactor, lambda: protocol.is_lost or "end of input" in protocol.events)
        protocol.transport.loseConnection()
        await until(reactor, lambda: protocol.is_lost)
        await turns(reactor)
        return protocol.events

    with logged() as failures:
        events = run(kind, scenario)
    assert events[-1].startswith("lost")
    assert failures == [ZeroDivisionError]


# --- reading ---


def test_pausing(kind: str) -> None:
    """A protocol that pauses is told nothing until it resumes: neither data nor the end."""

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.pauseProducing()
        peer.send(b"patience")
        peer.shutdown()
        await turns(reactor)
        assert protocol.events == ["made"]
        protocol.transport.resumeProducing()
        assert protocol.events == ["made"], "never from inside resumeProducing"
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    assert run(kind, scenario) == ["made", b"patience", "lost: ConnectionDone"]


@pytest.mark.parametrize("and_resumes", [False, True])
def test_pausing_at_once(kind: str, and_resumes: bool) -> None:
    """It may pause in ``connectionMade``, as a proxy does."""

    class Paused(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.pauseProducing()
            if and_resumes:
                self.transport.resumeProducing()

    async def scenario(reactor: Any) -> list[Any]:
        listener = Listener(reactor, Paused)
        peer = Peer(listener.address)
        peer.send(b"early")
        peer.shutdown()
        await until(reactor, lambda: listener.protocols)
        (protocol,) = listener.protocols
        await turns(reactor)
        if not and_resumes:
            assert protocol.events == ["made"]
            protocol.transport.resumeProducing()
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    with logged() as failures:
        assert run(kind, scenario) == ["made", b"early", "lost: ConnectionDone"]
    assert failures == []


def test_losing_at_once(kind: str) -> None:
    """It may close in ``connectionMade``, and is told nothing of what the peer sends."""

    class Leaving(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.write(b"go away")
            self.transport.loseConnection()

    async def scenario(reactor: Any) -> tuple[list[Any], bytes]:
        listener = Listener(reactor, Leaving)
        peer = Peer(listener.address)
        peer.send(b"hello")
        await until(reactor, lambda: peer.take_all())
        await until(reactor, lambda: listener.protocols[0].is_lost)
        return listener.protocols[0].events, peer.received

    assert run(kind, scenario) == (["made", "lost: ConnectionDone"], b"go away")


def test_another_protocol(kind: str) -> None:
    """Whoever is ``transport.protocol``, and whatever is its ``dataReceived``, gets what comes."""

    async def scenario(reactor: Any) -> tuple[list[Any], list[Any], list[bytes]]:
        first, peer = await Listener(reactor).connect()
        second = Recorder()
        peer.send(b"1")
        await until(reactor, lambda: first.received)
        transport = first.transport
        second.makeConnection(transport)
        transport.protocol = second
        peer.send(b"2")
        await until(reactor, lambda: second.received)
        taken: list[bytes] = []
        second.dataReceived = taken.append  # type: ignore[method-assign, assignment]
        peer.send(b"3")
        await until(reactor, lambda: taken)
        peer.socket.close()
        await until(reactor, lambda: second.is_lost)
        return first.events, second.events, taken

    second = ["made", b"2", "lost: ConnectionDone"]
    assert run(kind, scenario) == (["made", b"1"], second, [b"3"])


def test_fair_turns() -> None:
    """A connection with much to read has one large read a turn, and leaves the rest to others."""
    reads: list[int] = []

    class Counting(Recorder):
        def dataReceived(self, data: bytes) -> None:
            reads.append(turn)
            super().dataReceived(data)

    turn = 0

    async def scenario(reactor: Any) -> bytes:
        nonlocal turn
        protocol, peer = await Listener(reactor, Counting).connect()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        protocol.transport.pauseProducing()
        protocol.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        rest = memoryview(LARGE)
        await until(reactor, lambda: sent(peer, rest) < 1 << 16)
        protocol.transport.resumeProducing()
        while len(protocol.received) < 1 << 20:
            turn += 1
            await deferLater(reactor, 0)
        return protocol.received

    def sent(peer: Peer, rest: memoryview) -> int:
        try:
            return peer.socket.send(rest[: 1 << 20])
        except BlockingIOError:
            return 0

    run("uvloop", scenario)
    assert max(map(reads.count, reads)) <= 2, "a turn of ours may see the end of one of uvloop's"


# --- producers ---


@implementer(IPushProducer)
class Producer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_streaming_producer(kind: str) -> None:
    """It is paused when much waits, resumed when nothing does, and stopped at the end."""

    async def scenario(reactor: Any) -> list[str]:
        protocol, peer = await Listener(reactor).connect()
        producer = Producer()
        protocol.transport.registerProducer(producer, True)
        protocol.transport.write(b"x" * 65_536)
        assert producer.told == [], "not at 64 KiB"
        protocol.transport.write(LARGE)
        assert producer.told == ["pause"]
        await turns(reactor)
        assert producer.told == ["pause"], "the peer takes nothing"
        await until(reactor, lambda: not peer.take() and producer.told[-1] == "resume")
        assert producer.told == ["pause", "resume"]
        peer.reset()
        await until(reactor, lambda: protocol.is_lost)
        return producer.told

    assert run(kind, scenario) == ["pause", "resume", "stop"]


def test_pull_producer(kind: str) -> None:
    """It is resumed at once, and again whenever what it wrote is sent."""

    @implementer(IPullProducer)
    class Pulled(Producer):
        def resumeProducing(self) -> None:
            super().resumeProducing()
            transport.write(b"%d" % len(self.told))
            if len(self.told) == 5:
                transport.unregisterProducer()

    transport: Any = None

    async def scenario(reactor: Any) -> tuple[bytes, list[str]]:
        nonlocal transport
        protocol, peer = await Listener(reactor).connect()
        transport = protocol.transport
        producer = Pulled()
        transport.registerProducer(producer, False)
        assert producer.told == ["resume"]
        transport.loseConnection()
        await until(reactor, lambda: peer.take_all())
        return peer.received, producer.told

    assert run(kind, scenario) == (b"12345", ["resume"] * 5)


def test_closing_waits_for_the_producer(kind: str) -> None:
    """A connection that is being closed is closed when its paused producer has done its work."""

    async def scenario(reactor: Any) -> tuple[int, list[str], list[Any]]:
        protocol, peer = await Listener(reactor).connect()
        producer = Producer()
        protocol.transport.registerProducer(producer, True)
        protocol.transport.write(LARGE)
        protocol.transport.loseConnection()
        await until(reactor, lambda: not peer.take() and producer.told[-1] == "resume")
        protocol.transport.write(b"the end")
        protocol.transport.unregisterProducer()
        await until(reactor, lambda: peer.take_all())
        await until(reactor, lambda: protocol.is_lost)
        return len(peer.received), producer.told, protocol.events

    expected = (len(LARGE) + 7, ["pause", "resume"], ["made", "lost: ConnectionDone"])
    assert run(kind, scenario) == expected


def test_one_producer_only(kind: str) -> None:
    """A second producer is refused; one for a lost connection is stopped."""

    async def scenario(reactor: Any) -> list[str]:
        protocol, peer = await Listener(reactor).connect()
        transport = protocol.transport
        transport.registerProducer(Producer(), True)
        with pytest.raises(RuntimeError, match="never unregistered"):
            transport.registerProducer(Producer(), True)
        transport.unregisterProducer()
        transport.unregisterProducer()
        transport.registerProducer(Producer(), True)
        peer.socket.close()
        await until(reactor, lambda: protocol.is_lost)
        late = Producer()
        transport.registerProducer(late, True)
        transport.unregisterProducer()
        return late.told

    assert run(kind, scenario) == ["stop"]


def test_failing_producer(kind: str) -> None:
    """A producer that raises ends its connection."""

    class Failing(Producer):
        def resumeProducing(self) -> None:
            raise ZeroDivisionError

    async def scenario(reactor: Any) -> list[Any]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.registerProducer(Failing(), True)
        protocol.transport.write(LARGE)
        await until(reactor, lambda: not peer.take() and protocol.is_lost)
        return protocol.events

    with logged() as failures:
        assert run(kind, scenario) == ["made", "lost: ZeroDivisionError"]
    assert failures == [ZeroDivisionError]


# --- the log ---


def test_log_prefix(kind: str) -> None:
    """What a protocol logs, in whatever it is called for, has its connection's name in front."""
    systems: dict[str, str] = {}

    class Noting(HalfCloseable):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            systems["data"] = system()
            if data == b"fail":
                raise ZeroDivisionError

        def readConnectionLost(self) -> None:
            systems["end of input"] = system()

        def writeConnectionLost(self) -> None:
            systems["end of output"] = system()

        def connectionLost(self, reason: Any = None) -> None:
            super().connectionLost(reason)
            systems["lost"] = system()

        def logPrefix(self) -> str:
            return "notes"

    def system() -> str:
        text: str = context.get(ILogContext)["system"]
        return text

    async def scenario(reactor: Any) -> tuple[str, str]:
        before = system()
        protocol, peer = await Listener(reactor, Noting).connect()
        peer.send(b"x")
        await until(reactor, lambda: "data" in systems)
        after = system()
        peer.shutdown()
        protocol.transport.loseWriteConnection()
        await until(reactor, lambda: len(systems) == 3)
        protocol.transport.loseConnection()
        await until(reactor, lambda: protocol.is_lost)
        failing, peer = await Listener(reactor, Noting).connect()
        peer.send(b"fail")
        await until(reactor, lambda: failing.is_lost)
        return before, after if after == system() else "left behind"

    with logged():
        before, after = run(kind, scenario)
    assert after == before
    del systems["end of output"], systems["lost"]  # where Twisted's may have no prefix
    assert systems == {"data": "notes,0,127.0.0.1", "end of input": "notes,0,127.0.0.1"}


# --- the beginning ---

# All that a protocol may do as it begins, and what its peer sees of it.
BEGINNINGS: dict[str, tuple[Callable[[Any], object], bytes, str | None]] = {
    "writes": (lambda transport: transport.write(b"hello"), b"hello", None),
    "closes": (lambda transport: transport.loseConnection(), b"", "end"),
    "aborts": (lambda transport: transport.abortConnection(), b"", "reset"),
    "writes and closes": (
        lambda transport: (transport.write(b"hello"), transport.loseConnection()),
        b"hello",
        "end",
    ),
    "writes much and closes": (
        lambda transport: (transport.write(LARGE), transport.loseConnection()),
        LARGE,
        "end",
    ),
    "writes and aborts": (
        lambda transport: (transport.write(b"hello"), transport.abortConnection()),
        b"",
        "reset",
    ),
    "ends its output": (
        lambda transport: (transport.write(b"hello"), transport.loseWriteConnection()),
        b"hello",
        "end",
    ),
    "pauses and resumes": (
        lambda transport: (
            transport.pauseProducing(),
            transport.resumeProducing(),
            transport.write(b"hello"),
        ),
        b"hello",
        None,
    ),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("others_write", [False, True])
def test_beginning(kind: str, beginning: str, others_write: bool) -> None:
    """What a protocol does as it begins is done, whatever else happens in that turn."""
    begin, sent, end = BEGINNINGS[beginning]

    class Beginning(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            begin(self.transport)

    async def scenario(reactor: Any) -> tuple[bytes, str | None, bytes]:
        other, _ = await Listener(reactor).connect()

        def make() -> Recorder:
            if others_write:
                other.transport.write(b"x")
            return Beginning()

        listener = Listener(reactor, make)
        peer = Peer(listener.address)
        await until(reactor, lambda: listener.protocols)
        (protocol,) = listener.protocols
        await until(reactor, lambda: peer.take_all() == end and peer.received == sent)
        if end is None:
            peer.send(b"and back")
            await until(reactor, lambda: protocol.received)
        return peer.received, peer.end, protocol.received

    assert run(kind, scenario) == (sent, end, b"and back" if end is None else b"")


def test_beginning_with_a_closed_socket() -> None:
    """A connection whose socket is closed as it begins leaves it to who has a duplicate."""
    duplicates: list[socket.socket] = []

    class Closed(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            duplicates.append(self.transport.socket.dup())
            self.transport.socket.close()

    async def scenario(reactor: Any) -> list[Any]:
        listener = Listener(reactor, Closed)
        protocol, peer = await listener.connect()
        peer.send(b"x")
        await until(reactor, lambda: protocol.is_lost)
        assert duplicates[0].recv(10) == b"x"
        duplicates[0].close()
        return protocol.events

    assert run("uvloop", scenario) == ["made", "lost: ConnectionLost"]


# --- addresses and sockets ---


def test_addresses(kind: str) -> None:
    """A connection knows both of its addresses, also when it is lost."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        protocol, peer = await listener.connect()
        transport = protocol.transport
        here = IPv4Address("TCP", *peer.socket.getsockname())
        assert (transport.getPeer(), transport.getHost()) == (here, listener.port.getHost())
        assert transport.hostname == "127.0.0.1"
        assert repr(transport) == f"<Recorder #0 on {listener.address[1]}>"
        assert transport.logPrefix() == "Recorder,0,127.0.0.1"
        peer.socket.close()
        await until(reactor, lambda: protocol.is_lost)
        assert transport.getPeer() == here

    run(kind, scenario)


def test_addresses_of_ipv6(kind: str) -> None:
    """IPv6 addresses have their flow and scope."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        port = reactor.listenTCP(0, listener, interface="::1")
        peer = Peer(("::1", port.getHost().port), socket.AF_INET6)
        await until(reactor, lambda: listener.protocols)
        transport = listener.protocols[0].transport
        assert transport.getPeer() == IPv6Address("TCP", *peer.socket.getsockname())
        assert transport.getHost() == port.getHost()

    run(kind, scenario)


@pytest.mark.parametrize("named", [False, True])
def test_unix(kind: str, named: bool, tmp_path: Path) -> None:
    """UNIX sockets have the same connections, with their own addresses."""
    path = str(tmp_path / "socket")

    async def scenario(reactor: Any) -> list[Any]:
        listener = Listener(reactor)
        reactor.listenUNIX(path, listener)
        name = str(tmp_path / "peer") if named else None
        peer = Peer(path, socket.AF_UNIX, name)
        await until(reactor, lambda: listener.protocols)
        (protocol,) = listener.protocols
        transport = protocol.transport
        assert transport.getHost() == UNIXAddress(path)
        assert transport.getPeer() == UNIXAddress(name)
        transport.setTcpNoDelay(True)
        assert transport.getTcpNoDelay() is False
        transport.write(LARGE)
        transport.loseConnection()
        await until(reactor, lambda: peer.take_all())
        assert peer.received == LARGE
        await until(reactor, lambda: protocol.is_lost)
        return protocol.events

    assert run(kind, scenario) == ["made", "lost: ConnectionDone"]


def test_socket_options(kind: str) -> None:
    """The socket is there for its options, and whoever closes it closes the connection."""

    async def scenario(reactor: Any) -> None:
        protocol, peer = await Listener(reactor).connect()
        transport = protocol.transport
        for enabled in (True, False):
            transport.setTcpNoDelay(enabled)
            assert transport.getTcpNoDelay() is enabled
            transport.setTcpKeepAlive(enabled)
            assert transport.getTcpKeepAlive() is enabled
        handle = transport.getHandle()
        assert isinstance(handle, socket.socket)
        assert transport.fileno() == handle.fileno()
        assert handle.getpeername() == peer.socket.getsockname()
        transport.loseConnection()
        await until(reactor, lambda: peer.take_all())
        await turns(reactor)
        assert handle.fileno() == -1

    run(kind, scenario)


def test_handle_is_closed() -> None:
    """Closing the socket of a connection closes the connection: uvloop has the descriptor."""

    async def scenario(reactor: Any) -> tuple[str | None, list[Any]]:
        protocol, peer = await Listener(reactor).connect()
        protocol.transport.getHandle().close()
        await until(reactor, lambda: peer.take_all())
        return peer.end, protocol.events

    assert run("uvloop", scenario) == ("end", ["made", "lost: ConnectionLost"])


def test_interfaces() -> None:
    """A transport has all methods of the interfaces that it provides."""

    async def scenario(reactor: Any) -> None:
        protocol, _ = await Listener(reactor).connect()
        for interface in (
            ITLSTransport,
            IConsumer,
            IPushProducer,
            IHalfCloseableDescriptor,
            ISystemHandle,
            ILoggingContext,
        ):
            assert verifyObject(interface, protocol.transport)

    run("uvloop", scenario)


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection", "close", "reset"])
@pytest.mark.parametrize("uses_handle", [False, True])
def test_descriptors(end: str, uses_handle: bool) -> None:
    """However a connection ends, its descriptor is closed once, and nobody else's with it."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        await _connect_and_end(listener, end, uses_handle)
        before = count_descriptors()
        bystander = os.open(os.devnull, os.O_RDONLY)
        for _ in range(20):
            await _connect_and_end(listener, end, uses_handle)
            os.fstat(bystander)
        os.close(bystander)
        assert count_descriptors() == before
        assert reactor.connections == set()

    run("uvloop", scenario)


async def _connect_and_end(listener: Listener, end: str, uses_handle: bool) -> None:
    protocol, peer = await listener.connect()
    if uses_handle:
        protocol.transport.getHandle()
    ends: dict[str, Callable[[], None]] = {"close": peer.socket.close, "reset": peer.reset}
    ends.get(end, getattr(protocol.transport, end, lambda: None))()
    await until(listener.reactor, lambda: protocol.is_lost)
    await turns(listener.reactor)
    peer.socket.close()
