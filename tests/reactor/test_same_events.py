"""Whatever both ends of a connection do, in whatever order: the same on both reactors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import deferLater

from tests.reactor.connections import HalfCloseable, Listener, Peer, Recorder
from tests.reactor.reactors import logged, run, until

Step = tuple[Any, ...]

# What one step takes, from a write to what the other end is told of it, is over by then.
_TURNS = 8


class Reacting(Recorder):
    """Takes steps from inside ``dataReceived``."""

    def __init__(self) -> None:
        super().__init__()
        self.reactions: list[Callable[[], None]] = []

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while self.reactions:
            self.reactions.pop(0)()


class HalfCloseableReacting(HalfCloseable, Reacting):
    """The same, and can be half-closed."""


@dataclass
class Ends:
    """Both ends of a connection, and the steps that they can take."""

    protocol: Reacting
    peer: Peer
    written: int = 0
    sent: int = 0
    has_lost_write: bool = False
    peer_is_closed: bool = False
    seen: list[Any] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Take a step; one that its end cannot take any more is left out."""
        kind, *arguments = step
        if kind == "react":
            self.protocol.reactions.append(lambda: self.take(arguments[0]))
        elif kind.startswith("peer "):
            if not self.peer_is_closed:
                getattr(self, "peer_" + kind.removeprefix("peer "))(*arguments)
        else:
            getattr(self, kind)(*arguments)

    # The protocol's steps, which it may take whether it is connected or not.

    def write(self, size: int) -> None:
        self.protocol.transport.write(pattern(self.written, size))
        self.written += size

    def pause(self) -> None:
        self.protocol.transport.pauseProducing()

    def resume(self) -> None:
        self.protocol.transport.resumeProducing()

    def lose(self) -> None:
        self.protocol.transport.loseConnection()

    def lose_write(self) -> None:
        # Twisted's loses the connection the second time, raises when it is lost, and finds a reset
        # that nobody has read.
        if not self.has_lost_write and not self.protocol.is_lost and not self.peer_is_closed:
            self.has_lost_write = True
            self.protocol.transport.loseWriteConnection()

    def abort(self) -> None:
        self.protocol.transport.abortConnection()

    # The peer's.

    def peer_send(self, size: int) -> None:
        try:
            self.peer.send(pattern(self.sent, size))
            self.sent += size
        except ConnectionError:
            self.seen.append("peer can't send")

    def peer_take(self, size: int) -> None:
        self.peer.take(size)

    def peer_shutdown(self) -> None:
        try:
            self.peer.shutdown()
        except OSError:
            self.seen.append("peer can't shut down")

    def peer_close(self) -> None:
        self.peer_is_closed = True
        self.peer.socket.close()

    def peer_reset(self) -> None:
        self.peer_is_closed = True
        self.peer.reset()

    def look(self) -> None:
        """Note what both ends know by now."""
        self.seen.append([*self.protocol.events])
        self.seen.append((len(self.peer.received), self.peer.end))


def pattern(start: int, size: int) -> bytes:
    """Return a part of an endless text in which no two parts are alike."""
    first, last = start // 8, (start + size) // 8 + 1
    text = b"".join(b"%07x." % number for number in range(first, last))
    return text[start % 8 : start % 8 + size]


def play(kind: str, bursts: list[list[Step]], half_closeable: bool) -> list[Any]:
    """Return what both ends saw: after each burst of steps, which are taken in one turn."""

    async def scenario(reactor: Any) -> list[Any]:
        make = HalfCloseableReacting if half_closeable else Reacting
        protocol, peer = await Listener(reactor, make).connect()
        protocol.transport.setTcpNoDelay(True)  # as it is with ours
        ends = Ends(protocol, peer)  # type: ignore[arg-type]
        for burst in bursts:
            for step in burst:
                ends.take(step)
            for _ in range(_TURNS):
                await deferLater(reactor, 0)
            ends.look()
        if not ends.peer_is_closed:
            peer.take_all()
        protocol.transport.loseConnection()
        protocol.transport.abortConnection()
        await until(reactor, lambda: protocol.is_lost)
        ends.look()
        assert pattern(0, ends.written).startswith(peer.received), "in order, and nothing else"
        assert pattern(0, ends.sent).startswith(protocol.received)
        return ends.seen

    try:
        return run(kind, scenario)
    finally:
        Peer.close_all()


def comparable(seen: list[Any], bursts: list[list[Step]]) -> list[Any]:
    """Leave out of what both ends saw what differs for a reason.

    - Twisted finds the end of the input again when it reads again; uvloop is not asked to.
    - Twisted makes a system call to send nothing before it closes, and so finds a reset that nobody
      has read.
    """
    steps = [step for burst in bursts for step, *_ in burst]
    resets = ("lose" in steps or "react" in steps) and {"peer reset", "peer close"} & {*steps}
    return [_comparable(events, bool(resets)) for events in seen]


def _comparable(events: Any, resets: bool) -> Any:
    if not isinstance(events, list):
        return events
    told: list[Any] = []
    for event in events:
        if event == "end of input" and event in told:
            continue
        told.append("lost" if resets and str(event).startswith("lost") else event)
    return told


# All of it fits into the buffers of the kernel, whose speed is another matter.
SIZES = st.integers(1, 3000) | st.sampled_from([1, 16_384, 16_385])
OWN_STEPS = (
    st.tuples(st.just("write"), SIZES)
    | st.tuples(st.sampled_from(["pause", "resume", "resume"]))
    | st.tuples(st.sampled_from(["lose", "lose_write", "abort"]))
)
PEER_STEPS = st.tuples(st.just("peer send"), st.integers(1, 3000)) | st.tuples(
    st.just("peer take"), SIZES
)
PEER_ENDS = st.tuples(st.sampled_from(["peer shutdown", "peer close", "peer reset"]))
# In one burst one end takes steps, since nobody promises which of two ends comes first.  The peer
# ends in a burst of its own: Twisted drops an answer to what came together with the end.
BURSTS = (
    st.lists(OWN_STEPS | st.tuples(st.just("react"), OWN_STEPS), min_size=1, max_size=4)
    | st.lists(PEER_STEPS, min_size=1, max_size=3)
    | st.lists(PEER_ENDS, min_size=1, max_size=1)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(BURSTS, min_size=1, max_size=6), st.booleans())
def test_same_events(bursts: list[list[Step]], half_closeable: bool) -> None:
    """Both ends are told the same, in the same order, whatever they do."""
    with logged() as failures:
        stock = play("stock", bursts, half_closeable)
        ours = play("uvloop", bursts, half_closeable)
    assert comparable(ours, bursts) == comparable(stock, bursts)
    assert failures == []


@settings(max_examples=25, deadline=None)
@given(
    writes=st.lists(st.integers(1, 1_000_000), min_size=1, max_size=12),
    takes=st.lists(st.integers(1, 1_000_000), min_size=1, max_size=12),
    half_closes=st.booleans(),
)
def test_every_byte(writes: list[int], takes: list[int], half_closes: bool) -> None:
    """Every byte arrives, and then the end, however much is written and however slowly taken."""

    async def scenario(reactor: Any) -> tuple[Ends, list[Any]]:
        protocol, peer = await Listener(reactor, HalfCloseableReacting).connect()
        ends = Ends(protocol, peer)  # type: ignore[arg-type]
        for number in range(max(len(writes), len(takes))):
            if number < len(writes):
                ends.write(writes[number])
            if number < len(takes):
                ends.peer_take(takes[number])
            await deferLater(reactor, 0)
        if half_closes:
            ends.lose_write()
        else:
            ends.lose()
        await until(reactor, lambda: peer.take_all())
        ends.lose()
        await until(reactor, lambda: protocol.is_lost)
        return ends, protocol.events

    try:
        ends, events = run("uvloop", scenario)
    finally:
        Peer.close_all()
    assert ends.peer.received == pattern(0, ends.written)
    assert ends.peer.end == "end"
    assert events == ["made", *(["end of output"] if half_closes else []), "lost: ConnectionDone"]
