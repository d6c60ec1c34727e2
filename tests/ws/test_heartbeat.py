"""Pings, spread over the interval, and what happens to those who don't answer."""

from __future__ import annotations

import weakref
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ws.client import WebSocketTestCase
from tests.ws.links import FakeLink
from x121.messaging.handlers import Handlers
from x121.testing.frames import CLOSE, PING, PONG, TEXT
from x121.ws.heartbeat import Heartbeat

# Powers of two, which floats add up exactly.
INTERVAL, TIMEOUT, STEP = 32.0, 8.0, 0.0625


class Punctual(Clock):
    """A clock that, as a reactor, calls nobody in the past."""

    def callLater(self, delay: float, *args: Any, **kwargs: Any) -> IDelayedCall:
        assert delay >= 0
        return super().callLater(delay, *args, **kwargs)


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.heartbeat = self.make()

    def make(self, interval: float = INTERVAL, timeout: float = TIMEOUT) -> Heartbeat:
        """Return a heartbeat on the test's clock."""
        return Heartbeat(interval_secs=interval, pong_timeout_secs=timeout, clock=self.clock)

    def pass_time(self, seconds: float) -> None:
        """Let time go by in small steps."""
        self.clock.pump([STEP] * round(seconds / STEP))

    def test_everybody_once(self) -> None:
        """Everybody is pinged once an interval."""
        links = [FakeLink() for _ in range(1000)]
        for link in links:
            self.heartbeat.watch(link)
            link.heard = True
        for intervals in (1, 2, 3):
            self.pass_time(INTERVAL)
            for link in links:
                link.heard = True
            self.assertEqual({link.pings for link in links}, {intervals})

    def test_spread(self) -> None:
        """Ten thousand who came at once are pinged in small parts, all over the interval."""
        links = [FakeLink() for _ in range(10_000)]
        for link in links:
            self.heartbeat.watch(link)
        pinged, most, turns = 0, 0, 0
        for _ in range(round(INTERVAL / STEP)):
            self.clock.advance(STEP)
            now = sum(link.pings for link in links)
            most, turns, pinged = max(most, now - pinged), turns + (now > pinged), now
        self.assertEqual(pinged, 10_000)
        self.assertLessEqual(most, 50)
        self.assertGreater(turns, 200)

    def test_no_answer(self) -> None:
        """Who isn't heard of for the time-out after a ping is timed out."""
        silent, alive = FakeLink(), FakeLink()
        self.heartbeat.watch(silent)
        self.heartbeat.watch(alive)
        self.pass_time(INTERVAL)
        alive.heard = True
        self.pass_time(TIMEOUT - STEP)
        self.assertFalse(silent.timed_out)
        self.pass_time(STEP)
        self.assertTrue(silent.timed_out)
        self.assertFalse(alive.timed_out)

    def test_asked_more_often(self) -> None:
        """Pings that come before the time-out of the last one don't put it off."""
        heartbeat = self.make(interval=1, timeout=10)
        silent = FakeLink()
        heartbeat.watch(silent)
        self.pass_time(10.75)
        self.assertFalse(silent.timed_out)
        self.assertGreater(silent.pings, 8)
        self.pass_time(0.5)
        self.assertTrue(silent.timed_out)

    def test_forgotten(self) -> None:
        """Who is forgotten is left alone, and when nobody is watched there is no timer."""
        link = FakeLink()
        self.heartbeat.watch(link)
        self.pass_time(INTERVAL)
        self.heartbeat.forget(link)
        self.heartbeat.forget(link)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((link.pings, link.timed_out), (1, False))

    def test_busy_reactor(self) -> None:
        """Turns that are missed while the reactor stands still are made up for."""
        links = [FakeLink() for _ in range(600)]
        for link in links:
            self.heartbeat.watch(link)
        self.clock.advance(INTERVAL)
        self.assertEqual({link.pings for link in links}, {1})

    def test_timer_is_not_late(self) -> None:
        """The next turn is never in the past, which a reactor would refuse."""
        clock = Punctual()
        heartbeat = Heartbeat(interval_secs=INTERVAL, pong_timeout_secs=TIMEOUT, clock=clock)
        link = FakeLink()
        heartbeat.watch(link)
        for seconds in (INTERVAL + 0.7, 0.3, INTERVAL * 3, INTERVAL):
            clock.advance(seconds)
        self.assertGreater(link.pings, 2)

    def test_forgotten_is_not_kept(self) -> None:
        """Nothing of who is forgotten is kept."""
        link = FakeLink()
        self.heartbeat.watch(FakeLink())
        self.heartbeat.watch(link)
        self.pass_time(INTERVAL)
        self.heartbeat.forget(link)
        kept = weakref.ref(link)
        del link
        self.assertIsNone(kept())

    def test_ping_ends_another(self) -> None:
        """A ping that ends another connection of its turn doesn't disturb the turn."""
        heartbeat = self.make(interval=0.01)
        one, two = FakeLink(), FakeLink()
        heartbeat.watch(one)
        heartbeat.watch(two)
        for mine, other in ((one, two), (two, one)):
            mine.ping = lambda other=other: heartbeat.forget(other)  # type: ignore[method-assign,misc]
        self.clock.advance(0.01)
        self.assertEqual(len(heartbeat._slot_of), 1)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.floats(0, 40)), max_size=40))
    def test_anybody_anytime(self, steps: list[tuple[bool, int, float]]) -> None:
        """Whoever comes and goes whenever, only those watched are pinged, and no timer is left."""
        clock = Clock()
        heartbeat = Heartbeat(interval_secs=INTERVAL, pong_timeout_secs=TIMEOUT, clock=clock)
        links = [FakeLink() for _ in range(10)]
        watched: set[int] = set()
        for comes, number, seconds in steps:
            if comes and number not in watched:
                watched.add(number)
                heartbeat.watch(links[number])
            elif not comes:
                watched.discard(number)
                heartbeat.forget(links[number])
            before = [link.pings for link in links]
            clock.advance(seconds)
            for index, link in enumerate(links):
                if index not in watched:
                    self.assertEqual(link.pings, before[index])
                elif seconds >= INTERVAL:
                    self.assertGreater(link.pings, before[index])
        for link in links:
            heartbeat.forget(link)
        self.assertEqual(clock.getDelayedCalls(), [])


class AliveTests(WebSocketTestCase):
    def test_ping(self) -> None:
        """A client is pinged every interval, and stays while it answers."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        for _ in range(5):
            app.clock.pump([0.5] * 61)
            (ping,) = client.frames()
            self.assertEqual(ping.opcode, PING)
            client.send(PONG, ping.payload)
            app.clock.pump([0.5] * 2)
        self.assertFalse(client.connection.closed)

    def test_any_bytes(self) -> None:
        """Any bytes are a sign of life, even half a frame."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        app.clock.advance(30)
        client.connection.send(b"\x81")
        app.clock.advance(11)
        self.assertFalse(client.connection.closed)

    def test_silence(self) -> None:
        """Without a sign of life 1011 is sent and the connection dropped."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        app.clock.advance(30)
        client.frames()
        app.clock.advance(10)
        self.assertClosed(client, 1011)
        self.assertTrue(client.connection.closed)
        self.assertFalse(client.connection.transport.aborted)  # so that 1011 isn't lost
        app.clock.advance(0)
        self.assertEqual(app.lines("x121.ws")[-1]["code"], 1011)
        self.assertEqual(app.clock.getDelayedCalls(), [])

    def test_silence_of_one_who_takes_nothing(self) -> None:
        """1011 that can't be sent is not waited for."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        client.take_nothing()
        app.clock.advance(30)
        app.clock.advance(10)
        app.clock.advance(5)
        self.assertTrue(client.connection.transport.aborted)

    def test_unread(self) -> None:
        """Who isn't read, because its messages wait, isn't blamed for its silence."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        client.protocol._reader.is_paused = True
        app.clock.advance(30)
        app.clock.advance(11)
        self.assertFalse(client.connection.closed)

    def test_slow_and_steady(self) -> None:
        """That the peer takes what is sent is a sign of life, though its pong is far behind."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        client.outbox.pauseProducing()
        app.clock.advance(30)
        client.outbox.resumeProducing()
        client.outbox.pauseProducing()
        app.clock.advance(10)
        self.assertTrue(client.protocol.can_send)

    def test_neither_reads(self) -> None:
        """Who isn't read because it doesn't take its answers has no such excuse."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="10")
        client = self.connect(app)
        client.take_nothing()
        client.protocol._reader.is_paused = True
        app.clock.advance(30)
        app.clock.advance(10)
        self.assertFalse(client.protocol.can_send)

    def test_closing(self) -> None:
        """Who has sent its close frame, and waits for an answer, isn't expected to speak."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="100")
        client = self.connect(app)
        client.protocol.connection.close()
        app.clock.advance(4)
        self.assertEqual([frame.opcode for frame in client.frames()], [CLOSE])

    def test_closing_in_silence(self) -> None:
        """Nor is it blamed for the ping before, which it may have answered behind that."""
        app = self.app(WS_HEARTBEAT_INTERVAL_SECS="30", WS_PONG_TIMEOUT_SECS="2")
        client = self.connect(app)
        app.clock.advance(30)
        client.protocol.connection.close()
        app.clock.advance(3)
        self.assertFalse(client.connection.closed)

    def test_peer_is_done(self) -> None:
        """Who has sent a close frame, which waits for an answer before it, has no more to say."""
        handlers = Handlers()
        waiting: Deferred[None] = Deferred()
        handlers.on("wait")(lambda _: waiting)
        app = self.serve(
            lambda _: handlers,
            REQUEST_TIMEOUT_SECS="1000",
            WS_HEARTBEAT_INTERVAL_SECS="30",
            WS_PONG_TIMEOUT_SECS="10",
        )
        client = self.connect(app, "/test")
        client.send_message("wait")
        client.close()
        app.clock.pump([10] * 9)
        self.assertFalse(client.connection.closed)
        waiting.callback(None)
        self.assertEqual([frame.opcode for frame in client.frames()[-2:]], [TEXT, CLOSE])
