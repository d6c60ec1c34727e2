"""Topics that clients subscribe to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from tests.ws.client import WebSocket, WebSocketTestCase
from x121.application import AppState
from x121.core.models import Model
from x121.errors import Forbidden
from x121.messaging.built_in import BuiltIn
from x121.messaging.handlers import Handlers
from x121.messaging.router import WsRouter
from x121.testing.app import App
from x121.ws.connection import WsConnection

May = Callable[[WsConnection, str], Awaitable[None] | None]


class Project(Model):
    name: str


class Feature:
    """Topics with a rule that each test gives; without one they are for everybody."""

    messages = Handlers()
    all_projects = messages.topic("projects")
    one_project = messages.topic("projects/{project_id}")
    created = messages.event("project.created", Project, topic=all_projects)
    renamed = messages.event("project.renamed", Project, topic=one_project)

    def __init__(self, may: May | None) -> None:
        self._may = may or (lambda connection, topic: None)

    @all_projects.rule
    def may_follow_all(self, connection: WsConnection) -> Awaitable[None] | None:
        return self._may(connection, "projects")

    @one_project.rule
    def may_follow(self, connection: WsConnection, project_id: str) -> Awaitable[None] | None:
        return self._may(connection, f"projects/{project_id}")


class SubscribeTests(WebSocketTestCase):
    def start(self, may_subscribe: May | None = None, **environ: str) -> App:
        """Return a server with the feature's topics."""

        def router(state: AppState) -> Any:
            websockets = WsRouter(state.config, state.ws_manager)
            return websockets.nest(Feature(may_subscribe).messages).routes

        return self.app(router, **environ)

    def subscribe(self, client: WebSocket, topic: str) -> Any:
        """Return the answer to a client's ``subscribe``."""
        client.send_message("subscribe", 1, {"topic": topic})
        (answer,) = client.messages()
        return answer

    def publish(self, app: App, **parameters: object) -> int:
        """Publish one of the feature's events, and return how many got it."""
        event = Feature.renamed if parameters else Feature.created
        return app.state.ws_manager.publish_event(event, Project(name="x"), **parameters)

    def test_subscribe(self) -> None:
        """Who subscribes gets what is published, until it unsubscribes; nobody else does."""
        app = self.start()
        one, two = self.connect(app, "/test"), self.connect(app, "/test")
        reply = {"type": "reply", "id": 1, "data": {"topic": "projects"}}
        self.assertEqual(self.subscribe(one, "projects"), reply)
        self.assertEqual(self.publish(app), 1)
        event = {"type": "project.created", "data": {"name": "x"}}
        self.assertEqual((one.messages(), two.messages()), ([event], []))
        for _ in range(2):
            one.send_message("unsubscribe", 1, {"topic": "projects"})
            self.assertEqual(one.messages(), [reply])
        self.assertEqual((self.publish(app), one.messages()), (0, []))

    def test_twice(self) -> None:
        """Who subscribes twice gets an event once."""
        app = self.start()
        client = self.connect(app, "/test")
        self.assertEqual(self.subscribe(client, "projects"), self.subscribe(client, "projects"))
        self.assertEqual(self.publish(app), 1)

    def test_parameters(self) -> None:
        """One topic of many is had alone."""
        app = self.start()
        client = self.connect(app, "/test")
        self.assertEqual(self.subscribe(client, "projects/7")["type"], "reply")
        self.assertEqual((self.publish(app, project_id=8), self.publish(app)), (0, 0))
        self.assertEqual(self.publish(app, project_id=7), 1)

    def test_unknown(self) -> None:
        """A topic that nobody declared is an error that names it, shortly."""
        app = self.start()
        client, other = self.connect(app, "/test"), self.connect(app)
        for topic in ("project", "projects/", "projects/7/8", "x" * 200):
            for name in ("subscribe", "unsubscribe"):
                client.send_message(name, 1, {"topic": topic})
                (answer,) = client.messages()
                self.assertEqual((answer["type"], answer["code"]), ("error", "NOT_FOUND"))
                self.assertIn(f"{topic[:100]!r}", answer["error"])
                self.assertLess(len(answer["error"]), 200)
        self.assertEqual(self.subscribe(other, "projects/7")["code"], "NOT_FOUND")
        self.assertEqual(client.protocol.connection.topics, frozenset())

    def test_invalid(self) -> None:
        """What names no topic is told so."""
        client = self.connect(self.start(), "/test")
        for topic in ("", "projects/" + "7" * 192, 7, None, ["projects"]):
            client.send_message("subscribe", 1, {"topic": topic})
            (answer,) = client.messages()
            self.assertEqual(
                (answer["code"], answer["details"][0]["path"]), ("BAD_REQUEST", "topic")
            )
        client.send_message("subscribe", 1)
        self.assertEqual(client.messages()[0]["code"], "BAD_REQUEST")
        self.assertEqual(self.subscribe(client, "projects/" + "7" * 191)["type"], "reply")

    def test_too_many(self) -> None:
        """A connection has a hundred topics, and another one when it has left one."""
        client = self.connect(self.start(), "/test")
        for number in range(100):
            self.assertEqual(self.subscribe(client, f"projects/{number}")["type"], "reply")
        answer = self.subscribe(client, "projects")
        self.assertEqual((answer["type"], answer["code"]), ("error", "CONFLICT"))
        self.assertIn("100 topics", answer["error"])
        self.assertEqual(self.subscribe(client, "projects/7")["type"], "reply")
        client.send_message("unsubscribe", 1, {"topic": "projects/7"})
        client.messages()
        self.assertEqual(self.subscribe(client, "projects")["type"], "reply")

    # --- the seam ---

    def test_refused(self) -> None:
        """Who may not subscribe is told why, and is not subscribed, nor any more."""
        asked = []
        may = True

        def may_subscribe(connection: WsConnection, topic: str) -> None:
            asked.append((connection.id, topic))
            if not may:
                raise Forbidden("Not yours")

        app = self.start(may_subscribe)
        client = self.connect(app, "/test")
        self.assertEqual(self.subscribe(client, "projects")["type"], "reply")
        may = False
        for topic in ("projects", "projects/7"):
            refused = {"type": "error", "id": 1, "error": "Not yours", "code": "FORBIDDEN"}
            self.assertEqual(self.subscribe(client, topic), refused)
        self.assertEqual((self.publish(app), self.publish(app, project_id=7)), (0, 0))
        self.assertEqual(asked[1:], [(client.id, "projects"), (client.id, "projects/7")])

    def test_asked_later(self) -> None:
        """The answer may take its time, within the time that a message has."""
        waiting: list[Deferred[None]] = []

        def may_subscribe(_: WsConnection, topic: str) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        app = self.start(may_subscribe, REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        client.send_message("subscribe", 1, {"topic": "projects"})
        self.assertEqual((self.publish(app), client.messages()), (0, []))
        waiting[0].callback(None)
        self.assertEqual((client.messages()[0]["id"], self.publish(app)), (1, 1))
        client.messages()
        client.send_message("subscribe", 2, {"topic": "projects/7"})
        waiting[1].errback(Forbidden("Not yours"))
        self.assertEqual(client.messages()[0]["code"], "FORBIDDEN")
        client.send_message("subscribe", 3, {"topic": "projects/8"})
        app.clock.advance(2)
        self.assertEqual(client.messages()[0]["code"], "REQUEST_TIMEOUT")
        self.assertEqual(client.protocol.connection.topics, {"projects"})

    def test_leaves_meanwhile(self) -> None:
        """Who leaves before there is an answer isn't subscribed afterwards."""
        answer: Deferred[None] = Deferred(lambda deferred: deferred.callback(None))
        app = self.start(lambda connection, topic: answer)
        client = self.connect(app, "/test")
        client.send_message("subscribe", 1, {"topic": "projects"})
        client.connection.disconnect()
        self.assertTrue(answer.called)
        self.assertEqual(self.publish(app), 0)
        self.assertEqual(app.state.ws_manager._by_topic, {})
        self.assertEqual(app.lines("x121.errors"), [])

    # --- leaving ---

    def test_dropped(self) -> None:
        """A connection's topics end with it, however it ends."""
        for leave in ("close", "connection.disconnect", "protocol.connection.abort"):
            app = self.start()
            client, other = self.connect(app, "/test"), self.connect(app, "/test")
            for topic in ("projects", "projects/7"):
                self.subscribe(client, topic)
            self.subscribe(other, "projects")
            call: Any = client
            for name in leave.split("."):
                call = getattr(call, name)
            call()
            app.clock.advance(0)
            self.assertEqual((self.publish(app), self.publish(app, project_id=7)), (1, 0), leave)
            self.assertEqual(list(app.state.ws_manager._by_topic), ["projects"])

    def test_draining(self) -> None:
        """While the server stops, events still reach those who have to get an answer first."""
        answers: list[Deferred[None]] = []

        def may_subscribe(_: WsConnection, topic: str) -> Deferred[None] | None:
            if topic == "projects":
                return None
            answers.append(Deferred())
            return answers[-1]

        app = self.start(may_subscribe)
        client = self.connect(app, "/test")
        self.subscribe(client, "projects")
        client.send_message("subscribe", 2, {"topic": "projects/7"})
        gone = ensureDeferred(app.state.ws_manager.shutdown_all(30))
        app.clock.advance(1)
        self.assertEqual(self.publish(app), 1)
        answers[0].callback(None)
        event, reply, close = client.frames()
        self.assertIn(b"project.created", event.payload)
        self.assertIn(b'"id":2', reply.payload)
        self.assertEqual(close.code, 1001)
        self.assertEqual(self.publish(app), 0)
        client.close(1001)
        app.clock.advance(0.1)
        self.successResultOf(gone)
        self.assertEqual(app.state.ws_manager._by_topic, {})

    def test_welcome(self) -> None:
        """The first event is as it is declared."""
        client = self.connect(self.start(), "/test")
        data_type = BuiltIn.welcome.data_type
        self.assertTrue(data_type.takes({"connection_id": client.id}))
        self.assertFalse(data_type.takes({}))


class DeclaredTests(WebSocketTestCase):
    def test_names(self) -> None:
        """An event's name is there once, and is none that clients take for an answer."""
        handlers = Handlers()
        handlers.event("x", int)
        self.assertIn("'x'", str(self.assertRaises(ValueError, handlers.event, "x", int)))
        for name in ("reply", "error"):
            self.assertRaises(ValueError, handlers.event, name, int)
        state = self.app().state
        router = WsRouter(state.config, state.ws_manager).nest(handlers)
        other = Handlers()
        other.event("x", str)
        self.assertIn("'x'", str(self.assertRaises(ValueError, router.nest, other)))
        welcome = Handlers()
        welcome.event("welcome", str)
        self.assertRaises(ValueError, router.nest, welcome)

    def test_wrong(self) -> None:
        """A topic or a type that is none is an error where it is declared, and names the event."""
        handlers = Handlers()
        self.assertRaises(ValueError, handlers.topic, "a//b")
        error = self.assertRaises(TypeError, handlers.event, "x", WebSocketTestCase)
        self.assertIn("the event x", str(error))
