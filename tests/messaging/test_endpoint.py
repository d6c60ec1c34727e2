"""Messages and their answers, as clients see them."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tests.ws.client import WebSocketTestCase
from x121.application import AppState
from x121.errors import BadRequest, Forbidden, InternalError
from x121.messaging.handlers import Handlers, Message
from x121.messaging.router import WsRouter
from x121.testing.app import App
from x121.testing.frames import BINARY, TEXT

_log = Logger(namespace="tests.feature")


class Feature:
    """Answers in every way a handler can."""

    messages = Handlers()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock
        self.begun: list[Any] = []
        self.waiting: list[Deferred[Any]] = []

    @messages.on("echo")
    def echo(self, message: Message) -> Any:
        return message.data

    @messages.on("wait")
    async def wait(self, message: Message) -> Any:
        self.begun.append(message.data)
        self.waiting.append(Deferred())
        _log.info("waiting")
        result = await self.waiting[-1]
        _log.info("done")
        return result

    @messages.on("deferred")
    def deferred(self, message: Message) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    @messages.on("chained")
    def chained(self, message: Message) -> Deferred[Any]:
        first: Deferred[Any] = Deferred()
        first.callback(None)
        return first.addCallback(lambda _: self.deferred(message))

    @messages.on("stubborn")
    async def stubborn(self, message: Message) -> str:
        try:
            await self.deferred(message)
        except CancelledError:
            await self.deferred(message)
        return "at last"

    @messages.on("careless")
    async def careless(self, message: Message) -> None:
        try:
            await self.deferred(message)
        finally:
            raise ZeroDivisionError

    @messages.on("raise")
    def fail(self, message: Message) -> None:
        raise {
            "forbidden": Forbidden("Not you"),
            "internal": InternalError("a secret"),
            "unexpected": RuntimeError("a secret"),
            "database": psycopg2.OperationalError("a secret"),
            "fields": BadRequest("No", details=[{"path": "data", "message": "a number"}]),
            "cancelled": CancelledError(),
            "exit": SystemExit(),
        }[message.data]

    @messages.on("unfit")
    def unfit(self, message: Message) -> object:
        return object()

    @messages.on("user")
    def user(self, message: Message) -> Any:
        return [message.type, message.id, message.connection.id]


class DispatchTests(WebSocketTestCase):
    feature: Feature

    def start(self, **environ: str) -> App:
        """Return a server with the feature."""

        def make(state: AppState) -> Handlers:
            self.feature = Feature(state)
            return self.feature.messages

        return self.serve(make, **environ)

    def test_reply(self) -> None:
        """A message is answered with a reply that has its id, null where it has none."""
        client = self.connect(self.start(), "/test")
        client.send_message("echo", "any id", {"x": [1, None]})
        client.send(TEXT, b'{"type":"echo"}')
        self.assertEqual(
            client.messages(),
            [
                {"type": "reply", "id": "any id", "data": {"x": [1, None]}},
                {"type": "reply", "id": None, "data": None},
            ],
        )

    def test_ping(self) -> None:
        """``ping`` is built in."""
        client = self.connect(self.app())
        client.send_message("ping", 1)
        self.assertEqual(client.messages(), [{"type": "reply", "id": 1, "data": "pong"}])

    def test_message(self) -> None:
        """A handler knows the type, the id and the connection."""
        client = self.connect(self.start(), "/test")
        client.send_message("user", 3)
        self.assertEqual(client.messages()[0]["data"], ["user", 3, client.id])

    def test_malformed(self) -> None:
        """What is no message gets an error, and the connection stays."""
        client = self.connect(self.start(), "/test")
        for payload in (b"", b"nonsense", b"[]", b"{}", b'{"type": 7}', b'{"type": null}'):
            client.send(TEXT, payload)
            (answer,) = client.messages()
            self.assertEqual(
                (answer["type"], answer["id"], answer["code"]), ("error", None, "BAD_REQUEST")
            )
        client.send(BINARY, b'{"type":"ping"}')
        self.assertEqual(client.messages()[0]["code"], "BAD_REQUEST")
        client.send(TEXT, b'{"id": [7], "type": {}}')
        self.assertEqual(client.messages()[0]["id"], [7])
        client.send_message("ping", 1)
        self.assertEqual(client.messages()[0]["data"], "pong")

    def test_unknown_type(self) -> None:
        """An unknown type gets an error that names it, and the connection stays."""
        client = self.connect(self.start(), "/test")
        client.send_message("nope", 4)
        (answer,) = client.messages()
        self.assertEqual((answer["id"], answer["code"]), (4, "NOT_FOUND"))
        self.assertIn("'nope'", answer["error"])
        client.send_message("n" * 100_000, 5)
        self.assertLess(len(client.messages()[0]["error"]), 200)

    def test_errors(self) -> None:
        """What a handler raises is answered as over HTTP; our own faults say nothing."""
        app = self.start()
        client = self.connect(app, "/test")
        expected: dict[str, dict[str, Any]] = {
            "forbidden": {"error": "Not you", "code": "FORBIDDEN"},
            "internal": {"error": "Internal server error", "code": "INTERNAL_ERROR"},
            "unexpected": {"error": "Internal server error", "code": "PANIC"},
            "cancelled": {"error": "Internal server error", "code": "PANIC"},
            "exit": {"error": "Internal server error", "code": "PANIC"},
            "fields": {
                "error": "No",
                "code": "BAD_REQUEST",
                "details": [{"path": "data", "message": "a number"}],
            },
        }
        for kind, error in expected.items():
            client.send_message("raise", kind, kind)
            self.assertEqual(client.messages(), [{"type": "error", "id": kind, **error}])
        client.send_message("raise", 1, "database")
        self.assertEqual(client.messages()[0]["code"], "SERVICE_UNAVAILABLE")
        client.send_message("unfit", 1)
        self.assertEqual(client.messages()[0]["code"], "PANIC")
        logged = self.flushLoggedErrors()
        self.assertEqual(len(logged), 5)

    def test_logged(self) -> None:
        """Our own faults are logged with their traceback, the type and the connection's id."""
        app = self.start()
        client = self.connect(app, "/test")
        client.send_message("raise", 1, "unexpected")
        client.send_message("raise", 1, "forbidden")
        (line,) = app.lines("x121.errors")
        self.assertEqual((line["level"], line["connection_id"]), ("error", client.id))
        self.assertIn("RuntimeError: a secret", line["traceback"])
        self.assertIn("'raise'", line["message"])
        self.flushLoggedErrors(RuntimeError)

    def test_log_lines(self) -> None:
        """Every line logged while a message is handled carries its connection's id."""
        app = self.start()
        one, two = self.connect(app, "/test"), self.connect(app, "/test")
        one.send_message("wait")
        two.send_message("wait")
        for waiting in self.feature.waiting:
            waiting.callback(None)
        lines = [(line["message"], line["connection_id"]) for line in app.lines("tests.feature")]
        self.assertEqual(
            lines,
            [("waiting", one.id), ("waiting", two.id), ("done", one.id), ("done", two.id)],
        )
        _log.info("elsewhere")
        self.assertNotIn("connection_id", app.lines("tests.feature")[-1])

    def test_in_order(self) -> None:
        """Messages of one connection are handled one after the other, in their order."""
        app = self.start()
        client = self.connect(app, "/test")
        for number in range(3):
            client.send_message("wait", number, number)
        client.send_message("echo", 3)
        self.assertEqual((self.feature.begun, client.messages()), ([0], []))
        for number in range(3):
            self.feature.waiting[number].callback(f"done {number}")
        self.assertEqual(self.feature.begun, [0, 1, 2])
        self.assertEqual([answer["id"] for answer in client.messages()], [0, 1, 2, 3])

    def test_others_are_served(self) -> None:
        """A slow handler holds back its own connection alone."""
        app = self.start()
        slow, other = self.connect(app, "/test"), self.connect(app, "/test")
        slow.send_message("wait")
        other.send_message("echo", 1)
        self.assertEqual(len(other.messages()), 1)

    def test_deferreds(self) -> None:
        """A handler may return a Deferred, and chain them."""
        client = self.connect(self.start(), "/test")
        client.send_message("deferred", 1)
        client.send_message("chained", 2)
        self.feature.waiting[0].callback("one")
        self.assertEqual([answer["data"] for answer in client.messages()], ["one"])
        self.feature.waiting[1].callback("two")
        self.assertEqual([answer["data"] for answer in client.messages()], ["two"])

    def test_time_is_limited(self) -> None:
        """A message that takes too long is answered with an error, and its handler cancelled."""
        app = self.start(REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        client.send_message("wait", 1)
        client.send_message("echo", 2)
        app.clock.advance(1.9)
        self.assertEqual(client.messages(), [])
        app.clock.advance(0.2)
        late, next_one = client.messages()
        self.assertEqual((late["id"], late["code"]), (1, "REQUEST_TIMEOUT"))
        self.assertEqual(next_one["id"], 2)
        self.assertTrue(self.feature.waiting[0].called)

    def test_answered_in_time(self) -> None:
        """A message that was answered has no deadline any more."""
        app = self.start(REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        timers = list(app.clock.getDelayedCalls())
        client.send_message("wait", 1)
        client.send_message("raise", 2, "forbidden")
        self.feature.waiting[0].callback(None)
        self.assertEqual([answer["id"] for answer in client.messages()], [1, 2])
        self.assertEqual(app.clock.getDelayedCalls(), timers)

    def test_stubborn(self) -> None:
        """A handler that goes on after it was cancelled holds nobody back, and says no more."""
        app = self.start(REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        client.send_message("stubborn", 1)
        client.send_message("echo", 2)
        app.clock.advance(2)
        self.assertEqual([answer["type"] for answer in client.messages()], ["error", "reply"])
        self.feature.waiting[1].callback(None)
        self.assertEqual(client.messages(), [])

    def test_one_ends_before_the_next(self) -> None:
        """A handler that is out of time is over before the next begins, and what it says logged."""
        handlers = Handlers()
        order: list[str] = []

        @handlers.on("slow")
        async def slow(_: Message) -> None:
            try:
                await Deferred()
            finally:
                order.append("slow ends")
                raise ZeroDivisionError

        @handlers.on("next")
        def next_one(_: Message) -> None:
            order.append("next")

        environ = {"REQUEST_TIMEOUT_SECS": "2", "WS_HEARTBEAT_INTERVAL_SECS": "100"}
        app = self.serve(lambda _: handlers, **environ)
        client = self.connect(app, "/test")
        client.send_message("slow", 1)
        client.send_message("next", 2)
        app.clock.advance(2)
        self.assertEqual(order, ["slow ends", "next"])
        self.assertEqual(client.messages()[0]["code"], "REQUEST_TIMEOUT")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_slow_cleanup(self) -> None:
        """A handler that takes its time after it was cancelled disturbs nobody."""
        app = self.start(REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        client.send_message("stubborn", 1)
        client.connection.disconnect()
        app.clock.advance(3)
        self.assertEqual(app.clock.getDelayedCalls(), [])
        self.feature.waiting[1].callback(None)
        self.assertEqual([line for line in app.log if line["level"] != "info"], [])

    def test_timed_out_is_freed(self) -> None:
        """Nothing of a message that took too long is kept."""
        app = self.start(REQUEST_TIMEOUT_SECS="2", WS_HEARTBEAT_INTERVAL_SECS="100")
        client = self.connect(app, "/test")
        client.send_message("wait", 1)
        app.clock.advance(2)
        protocol = ref(client.protocol)
        client.connection.disconnect()
        client.connection.transport.protocol = None
        del client.connection.channel
        self.feature.waiting.clear()
        gc.collect()
        self.assertIsNone(protocol())

    def test_client_leaves(self) -> None:
        """What waits for a client that is gone is cancelled, without a word in the log."""
        app = self.start()
        client = self.connect(app, "/test")
        client.send_message("wait")
        client.send_message("wait")
        client.connection.disconnect()
        self.assertEqual(len(self.feature.waiting), 1)
        self.assertTrue(self.feature.waiting[0].called)
        self.assertEqual(app.lines("x121.errors") + app.lines("x121.ws.inbox"), [])

    def test_fault_after_leaving(self) -> None:
        """A handler that fails because its client is gone is a fault, and logged."""
        app = self.start()
        client = self.connect(app, "/test")
        client.send_message("careless")
        client.connection.disconnect()
        (line,) = app.lines("x121.errors")
        self.assertEqual((line["level"], line["connection_id"]), ("error", client.id))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_client_closes(self) -> None:
        """What came before a close frame is answered before it."""
        app = self.start()
        client = self.connect(app, "/test")
        client.send_message("wait", 1)
        client.close(4000)
        self.assertEqual(client.frames(), [])
        self.feature.waiting[0].callback(None)
        reply, close = client.frames()
        self.assertEqual((reply.opcode, close.code), (TEXT, 4000))
        self.assertTrue(client.connection.closed)


class RouterTests(WebSocketTestCase):
    def test_type_is_answered_once(self) -> None:
        """Two features can't answer the same type, nor one that is built in."""
        state = self.app().state
        router = WsRouter(state.config, state.ws_manager)
        one, two = Handlers(), Handlers()
        one.on("x")(print)
        two.on("x")(print)
        router.nest(one)
        self.assertIn("'x'", str(self.assertRaises(ValueError, router.nest, two)))
        ping = Handlers()
        ping.on("ping")(print)
        self.assertRaises(ValueError, router.nest, ping)
