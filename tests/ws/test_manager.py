"""Who is connected, how they are reached, and how they leave."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.ws.client import WebSocketTestCase
from tests.ws.links import FakeLink, connected
from x121.core.types import DbId
from x121.errors import InternalError
from x121.messaging.events import Event
from x121.messaging.handlers import Handlers
from x121.messaging.topics import Topic
from x121.testing.frames import CLOSE, TEXT
from x121.ws.connection import WsConnection
from x121.ws.heartbeat import Heartbeat
from x121.ws.manager import WsManager
from x121.ws.threads import WrongThread

ALICE, BOB = DbId(1), DbId(2)


def make_manager(clock: Clock | None = None) -> WsManager:
    """Return a manager of nobody."""
    clock = clock or Clock()
    heartbeat = Heartbeat(interval_secs=30, pong_timeout_secs=10, clock=clock)
    return WsManager(heartbeat, clock=clock, now=clock.seconds)


class MembersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.manager = make_manager()

    def add(self, name: str, user_id: DbId | None = None, **how: Any) -> WsConnection:
        """Return a connection that is in the manager."""
        connection = connected(name, user_id, **how)
        self.manager.add(connection)
        return connection

    def test_count(self) -> None:
        """Everybody who came and hasn't left is counted."""
        self.assertEqual(self.manager.connection_count(), 0)
        self.add("one")
        self.add("two", ALICE)
        self.assertEqual(self.manager.connection_count(), 2)
        self.manager.remove("one")
        self.assertEqual(self.manager.connection_count(), 1)

    def test_remove(self) -> None:
        """Removing returns the connection, and None for one that isn't there."""
        one = self.add("one", ALICE)
        self.assertIs(self.manager.remove("one"), one)
        self.assertIsNone(self.manager.remove("one"))
        self.assertEqual(self.manager.get_by_user(ALICE), [])

    def test_known_id(self) -> None:
        """An id is there once."""
        self.add("one")
        self.assertRaises(ValueError, self.add, "one")

    def test_by_user(self) -> None:
        """A user's connections are found, oldest first, and nobody else's."""
        one, _, three = self.add("one", ALICE), self.add("two", BOB), self.add("three", ALICE)
        self.add("four")
        self.assertEqual(self.manager.get_by_user(ALICE), [one, three])
        self.assertEqual(self.manager.get_by_user(DbId(9)), [])

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.none() | st.integers(0, 2))))
    def test_index(self, steps: list[tuple[bool, int, int | None]]) -> None:
        """Whoever comes and goes, the index by user says what a search would."""
        manager = make_manager()
        there: dict[str, WsConnection] = {}
        for comes, number, user in steps:
            name = str(number)
            if not comes:
                self.assertIs(manager.remove(name), there.pop(name, None))
            elif name not in there:
                there[name] = connected(name, None if user is None else DbId(user))
                manager.add(there[name])
        for user in range(3):
            expected = [one for one in there.values() if one.user_id == user]
            self.assertEqual(manager.get_by_user(DbId(user)), expected)
        self.assertEqual(manager.connection_count(), len(there))
        self.assertEqual(len(manager._by_user), len({c.user_id for c in there.values()} - {None}))

    def test_send_to_user(self) -> None:
        """An event reaches every connection of its user, and nobody else."""
        one, two, three = self.add("one", ALICE), self.add("two", BOB), self.add("three", ALICE)
        self.assertEqual(self.manager.send_to_user(ALICE, "news", [1]), 2)
        for connection in (one, three):
            self.assertEqual(sent(connection), [{"type": "news", "data": [1]}])
        self.assertEqual(sent(two), [])
        self.assertEqual(self.manager.send_to_user(DbId(9), "news"), 0)

    def test_broadcast(self) -> None:
        """An event reaches everybody, as one and the same frame."""
        connections = [self.add(str(number)) for number in range(5)]
        self.assertEqual(self.manager.broadcast("news", "x"), 5)
        for connection in connections:
            self.assertEqual(sent(connection), [{"type": "news", "data": "x"}])
        self.assertEqual(len({id(link(one).frames[0]) for one in connections}), 1)

    def test_broadcast_survives(self) -> None:
        """A connection that fails, or is closing, keeps nobody else from the event."""
        one, broken, closing, last = (self.add(str(number)) for number in range(4))
        link(broken).error = RuntimeError("broken")
        link(closing).can_send = False
        self.assertEqual(self.manager.broadcast("news"), 2)
        self.assertEqual(len(sent(one) + sent(last)), 2)
        self.assertTrue(link(broken).is_aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_leaving_meanwhile(self) -> None:
        """Who leaves while an event is sent doesn't disturb that."""
        one, _ = self.add("one"), self.add("two")
        link(one).on_send = lambda: self.manager.remove("two")
        self.manager.broadcast("news")
        self.assertEqual(len(sent(one)), 1)
        self.assertEqual(self.manager.connection_count(), 1)

    def test_not_for_all_endpoints(self) -> None:
        """An endpoint that doesn't speak our messages gets no events."""
        raw = self.add("raw", ALICE, takes_events=False)
        self.assertEqual(self.manager.broadcast("news"), 0)
        self.assertEqual(self.manager.send_to_user(ALICE, "news"), 0)
        self.assertEqual(sent(raw), [])

    def test_publish(self) -> None:
        """An event reaches those subscribed to its topic, and nobody else."""
        one, two, three = self.add("one"), self.add("two"), self.add("three")
        for connection in (one, two, one):
            self.manager.subscribe(connection, "news")
        self.assertEqual(self.manager.publish("news", "x", [1]), 2)
        for connection in (one, two):
            self.assertEqual(sent(connection), [{"type": "x", "data": [1]}])
        self.assertEqual(sent(three), [])

    def test_published_to_nobody(self) -> None:
        """Where nobody listens, nothing is encoded."""
        self.add("one")
        self.assertEqual(self.manager.publish("news", "x", object()), 0)
        event: Event[int] = Event("x", int, topic=Topic("news"))
        unfit: Any = object()
        self.assertEqual(self.manager.publish_event(event, unfit), 0)

    def test_leaving_while_published(self) -> None:
        """Who leaves while an event is published disturbs nobody, and gets no more."""
        one, two, three = self.add("one"), self.add("two"), self.add("three")
        for connection in (one, two, three):
            self.manager.subscribe(connection, "news")
        link(one).on_send = lambda: self.manager.remove("two")
        link(two).can_send = False
        self.assertEqual(self.manager.publish("news", "x"), 2)
        self.assertEqual(len(sent(three)), 1)
        self.assertEqual(self.manager.publish("news", "x"), 2)
        self.assertEqual(two.topics, frozenset())

    def test_not_there(self) -> None:
        """Who isn't there can't subscribe."""
        gone = connected("gone")
        self.manager.subscribe(gone, "news")
        self.assertEqual((self.manager.publish("news", "x"), gone.topics), (0, frozenset()))

    def test_publish_event(self) -> None:
        """A declared event goes to its topic, one without to everybody, as its type has it."""
        one, _ = self.add("one"), self.add("two")
        self.manager.subscribe(one, "rooms/7")
        in_room: Event[UUID] = Event("joined", UUID, topic=Topic("rooms/{room}"))
        self.assertEqual(self.manager.publish_event(in_room, UUID(int=1), room=7), 1)
        self.assertEqual(self.manager.publish_event(in_room, UUID(int=1), room=8), 0)
        self.assertEqual(self.manager.publish_event(Event("all", int), 7), 2)
        self.assertEqual(
            sent(one),
            [{"type": "joined", "data": str(UUID(int=1))}, {"type": "all", "data": 7}],
        )

    def test_wrong_event(self) -> None:
        """Data that isn't of its event's type is our fault, and reaches nobody."""
        one = self.add("one")
        everybody: Event[int] = Event("all", int)
        with self.assertRaises(InternalError) as caught:
            self.manager.publish_event(everybody, "hunter2")  # type: ignore[misc]
        error = caught.exception
        self.assertIn("The data of the event all is not valid", error.message)
        self.assertNotIn("hunter2", error.message)
        self.assertEqual(sent(one), [])
        for parameters in ({}, {"room": 7, "more": 1}, {"other": 7}):
            event: Event[int] = Event("x", int, topic=Topic("rooms/{room}"))
            self.assertRaises(TypeError, self.manager.publish_event, event, 1, **parameters)
        self.assertRaises(ValueError, self.manager.publish_event, event, 1, room="7/8")
        self.assertRaises(TypeError, Event[int]("all", int).topic_of)

    def test_unfit_event(self) -> None:
        """An event that JSON has no form for is the caller's error, and nobody's connection."""
        one = self.add("one")
        self.assertRaises(TypeError, self.manager.broadcast, "news", object())
        self.assertFalse(link(one).is_aborted)


class TopicsMachine(RuleBasedStateMachine):
    """The manager's topics beside a model of them: a set of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = make_manager()
        self.connections = [connected(str(number)) for number in range(4)]
        self.there: set[int] = set()
        self.subscribed: set[tuple[int, str]] = set()

    @rule(number=st.integers(0, 3))
    def add(self, number: int) -> None:
        if number not in self.there:
            self.connections[number] = connected(str(number))
            self.manager.add(self.connections[number])
            self.there.add(number)

    @rule(number=st.integers(0, 3))
    def remove(self, number: int) -> None:
        self.manager.remove(str(number))
        self.there.discard(number)
        self.subscribed = {pair for pair in self.subscribed if pair[0] != number}

    @rule(number=st.integers(0, 3), topic=st.sampled_from("ab"))
    def subscribe(self, number: int, topic: str) -> None:
        self.manager.subscribe(self.connections[number], topic)
        if number in self.there:
            self.subscribed.add((number, topic))

    @rule(number=st.integers(0, 3), topic=st.sampled_from("ab"))
    def unsubscribe(self, number: int, topic: str) -> None:
        self.manager.unsubscribe(self.connections[number], topic)
        self.subscribed.discard((number, topic))

    @rule(topic=st.sampled_from("abc"))
    def publish(self, topic: str) -> None:
        before = [len(sent(one)) for one in self.connections]
        taken = self.manager.publish(topic, "news")
        got = {n for n, one in enumerate(self.connections) if len(sent(one)) > before[n]}
        assert got == {number for number, name in self.subscribed if name == topic}
        assert taken == len(got)

    @invariant()
    def nothing_is_left(self) -> None:
        """A topic is known while somebody has it, and a connection knows its own."""
        assert set(self.manager._by_topic) == {topic for _, topic in self.subscribed}
        for number, connection in enumerate(self.connections):
            assert connection.topics == {name for n, name in self.subscribed if n == number}


TopicsMachineTests = TopicsMachine.TestCase
TopicsMachineTests.settings = settings(deadline=None)


def link(connection: WsConnection) -> FakeLink:
    """Return what is beneath a connection."""
    assert isinstance(connection.link, FakeLink)
    return connection.link


def sent(connection: WsConnection) -> list[Any]:
    """Return the messages that a connection was sent."""
    return [json.loads(frame[2:]) for frame in link(connection).frames]


class ConnectionTests(WebSocketTestCase):
    def test_facts(self) -> None:
        """A connection has a random id of version 4, and the time it came, in UTC."""
        app = self.app()
        client = self.connect(app)
        connection = client.protocol.connection
        self.assertEqual(UUID(connection.id).version, 4)
        self.assertEqual(connection.connected_at.timestamp(), app.now())
        self.assertEqual(str(connection.connected_at.tzinfo), "UTC")
        self.assertIsNone(connection.user_id)

    def test_events(self) -> None:
        """What the manager and a connection send arrives as events."""
        app = self.app()
        one, two = self.connect(app), self.connect(app)
        app.state.ws_manager.broadcast("news", {"x": 1})
        one.protocol.connection.send("yours")
        self.assertEqual(
            one.messages(), [{"type": "news", "data": {"x": 1}}, {"type": "yours", "data": None}]
        )
        self.assertEqual(two.messages(), [{"type": "news", "data": {"x": 1}}])

    def test_no_events(self) -> None:
        """A client of an endpoint that has no events gets none."""
        app = self.app(DIAGNOSTICS="true")
        client = self.connect(app, "/ws/echo")
        self.assertEqual(app.state.ws_manager.broadcast("news"), 0)
        self.assertEqual(client.frames(), [])

    def test_closed(self) -> None:
        """What is sent to a connection that is closed is lost, and says so."""
        client = self.connect(self.app())
        connection = client.protocol.connection
        client.close()
        self.assertFalse(connection.send("news"))
        self.assertFalse(connection.can_send)


class LeavingTests(WebSocketTestCase):
    def test_everybody_goes(self) -> None:
        """Everybody gets 1001, and who answers is counted as closed."""
        app = self.app(DIAGNOSTICS="true")
        clients = [self.connect(app), self.connect(app, "/ws/echo")]
        gone = ensureDeferred(app.state.ws_manager.shutdown_all(30))
        for client in clients:
            self.assertClosed(client, 1001)
            self.assertNoResult(gone)
            client.close(1001)
        app.clock.advance(0.1)
        self.successResultOf(gone)
        manager = app.state.ws_manager
        self.assertEqual((manager.closed, manager.dropped), (2, 0))
        self.assertEqual(app.clock.getDelayedCalls(), [])
        self.assertIn("Closing 2 WebSocket", app.lines("x121.ws.manager")[0]["message"])

    def test_last_one(self) -> None:
        """It is over when the last one has left, not before."""
        for leave in ("shutdown_all", "close"):
            app = self.app()
            manager = app.state.ws_manager
            one, two = self.connect(app), self.connect(app)
            manager.draining = True
            gone = ensureDeferred(getattr(manager, leave)())
            app.clock.advance(1)
            one.close(1001)
            app.clock.advance(1)
            self.assertNoResult(gone)
            two.close(1001)
            app.clock.advance(0)
            self.successResultOf(gone)

    def test_nobody(self) -> None:
        """Where nobody is connected there is nothing to wait for."""
        app = self.app()
        self.successResultOf(ensureDeferred(app.state.ws_manager.shutdown_all(30)))

    def test_no_answer(self) -> None:
        """Who doesn't answer the close frame in time is dropped, and counted so."""
        app = self.app()
        self.connect(app)
        gone = ensureDeferred(app.state.ws_manager.shutdown_all(30))
        app.clock.pump([1] * 6)
        self.successResultOf(gone)
        self.assertEqual((app.state.ws_manager.closed, app.state.ws_manager.dropped), (0, 1))

    def test_dropped(self) -> None:
        """Who is left in the end is dropped at once, and counted once."""
        app = self.app()
        client = self.connect(app)
        gone = ensureDeferred(app.state.ws_manager.shutdown_all(30))
        gone.addErrback(lambda _: None)
        gone.cancel()
        app.state.ws_manager.drop()
        self.assertTrue(client.connection.transport.aborted)
        app.clock.advance(0)
        manager = app.state.ws_manager
        self.assertEqual((manager.closed, manager.dropped), (0, 1))
        self.assertEqual(manager.connection_count(), 0)
        self.assertEqual(app.clock.getDelayedCalls(), [])

    def test_spread(self) -> None:
        """Thousands are not told to leave in one instant, but within a third of the time."""
        for count, within_secs in ((3000, 30.0), (3000, 1.0)):
            clock = Clock()
            manager = make_manager(clock)
            connections = [connected(str(number)) for number in range(count)]
            for connection in connections:
                manager.add(connection)
            gone = ensureDeferred(manager.shutdown_all(within_secs))
            gone.addErrback(lambda _: None)
            told = []
            while clock.seconds() <= within_secs / 3:
                told.append(sum(link(one).is_leaving for one in connections))
                clock.advance(0.05)
            steps = [after - before for before, after in zip([0, *told], told, strict=False)]
            self.assertEqual(told[-1], count)
            self.assertLessEqual(max(steps), max(50, count * 0.05 / (within_secs / 3) + 1))
            gone.cancel()

    def test_busy(self) -> None:
        """Who waits for an answer gets it before 1001, or 1001 when there is no time left."""
        app, waiting = self.waiting_app()
        one, two = self.connect(app, "/test"), self.connect(app, "/test")
        one.send_message("wait", 1)
        two.send_message("wait", 2)
        gone = ensureDeferred(app.state.ws_manager.shutdown_all(30))
        gone.addErrback(lambda _: None)
        app.clock.advance(1)
        self.assertEqual(one.frames() + two.frames(), [])
        waiting[0].callback("done")
        self.assertEqual([frame.opcode for frame in one.frames()], [TEXT, CLOSE])
        gone.cancel()
        closing = ensureDeferred(app.state.ws_manager.close())
        self.assertClosed(two, 1001)
        one.close(1001)
        two.connection.disconnect()
        app.clock.advance(0)
        self.successResultOf(closing)

    def waiting_app(self) -> tuple[Any, list[Deferred[Any]]]:
        """Return a server whose handler ``wait`` waits for the Deferreds in the list."""
        handlers = Handlers()
        waiting: list[Deferred[Any]] = []

        @handlers.on("wait")
        def wait(_: object) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        return self.serve(lambda _: handlers), waiting


@pytest_twisted.ensureDeferred
async def test_threads() -> None:
    """Every use in another thread is an error that says what to do."""
    manager = make_manager()
    connection = connected("one")
    manager.add(connection)
    for use in (
        lambda: manager.add(connected("two")),
        lambda: manager.remove("one"),
        lambda: manager.get_by_user(ALICE),
        lambda: manager.send_to_user(ALICE, "news"),
        lambda: manager.broadcast("news"),
        lambda: manager.publish("news", "news"),
        lambda: manager.publish_event(Event("news", int), 1),
        lambda: manager.subscribe(connection, "news"),
        lambda: manager.unsubscribe(connection, "news"),
        manager.connection_count,
        manager.drop,
        lambda: manager.shutdown_all().send(None),
        lambda: manager.close().send(None),
        lambda: connection.send("news"),
        lambda: connection.close(),
        connection.abort,
    ):
        with pytest.raises(WrongThread, match="deferToThread"):
            await deferToThread(use)
    assert manager.connection_count() == 1
    assert not manager.draining
    assert not connection.dropped
    manager.drop()
