"""The time-out: 408, the handler cancelled, and nothing of it runs on."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.memory import ORIGIN, AppTestCase
from x121.application import AppState
from x121.http.request import Request
from x121.testing.connection import Connection
from x121.web.router import Router


class Slow:
    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock
        self.events: list[str] = []

    @router.route("/wait/<float:seconds>")
    async def wait(self, request: Request, seconds: float) -> str:
        try:
            await deferLater(self._clock, seconds)
        except CancelledError:
            self.events.append("cancelled")
            raise
        self.events.append("finished")
        return "waited"

    @router.route("/deferred")
    def deferred(self, request: Request) -> Deferred[str]:
        return Deferred(lambda _: self.events.append("cancelled"))

    @router.route("/stubborn")
    async def stubborn(self, request: Request) -> str:
        try:
            await deferLater(self._clock, 100)
        except CancelledError:
            return "an answer nobody waits for"
        return ""

    @router.route("/clumsy")
    async def clumsy(self, request: Request) -> str:
        try:
            await deferLater(self._clock, 100)
        finally:
            raise ValueError("while cleaning up")

    @router.route("/stream")
    async def stream(self, request: Request) -> None:
        request.write(b"first")
        await deferLater(self._clock, 100)


class TimeoutTests(AppTestCase):
    def setUp(self) -> None:
        self.slow: Slow

        def feature(state: AppState) -> Router:
            self.slow = Slow(state)
            return self.slow.router

        self.server = self.app(feature, REQUEST_TIMEOUT_SECS="2.5")

    def get(self, path: str) -> Connection:
        connection = self.server.connect()
        head = f"GET /test/{path} HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN}\r\n\r\n"
        connection.send(head.encode())
        return connection

    def test_in_time(self) -> None:
        """A request that ends in time is left alone, and no timer is left of it."""
        connection = self.get("wait/2.4")
        self.server.clock.advance(2.4)
        self.assertEqual(connection.response().body, b"waited")
        connection.disconnect()
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """One that doesn't is 408, with the CORS headers, and its handler is cancelled."""
        connection = self.get("wait/2.6")
        self.server.clock.advance(2.49)
        self.assertEqual(connection.received, b"")
        self.server.clock.advance(0.01)
        response = connection.response()
        self.assertEqual((response.status, response.json["code"]), (408, "REQUEST_TIMEOUT"))
        self.assertIn("2.5 s", response.json["error"])
        self.assertEqual(response.headers["access-control-allow-origin"], ORIGIN)
        self.assertEqual(self.slow.events, ["cancelled"])

    def test_nothing_runs_on(self) -> None:
        """After the 408 nothing of the request is left: no timer, no word in the log."""
        connection = self.get("wait/100.0")
        self.server.clock.advance(2.5)
        connection.disconnect()
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual([line["logger"] for line in self.server.log], ["x121.access"])
        self.assertEqual(self.server.log[0]["status"], 408)

    def test_connection_goes_on(self) -> None:
        """The connection serves the next request."""
        connection = self.get("wait/100.0")
        self.server.clock.advance(2.5)
        connection.response()
        self.assertEqual(connection.request("GET", "/health").status, 200)

    def test_deferred(self) -> None:
        """A Deferred that a handler returned is cancelled, too."""
        connection = self.get("deferred")
        self.server.clock.advance(2.5)
        self.assertEqual(connection.response().status, 408)
        self.assertEqual(self.slow.events, ["cancelled"])

    def test_handler_that_answers_when_cancelled(self) -> None:
        """What a handler returns after the time-out is dropped without noise."""
        connection = self.get("stubborn")
        self.server.clock.advance(2.5)
        self.assertEqual(connection.response().status, 408)
        self.assertEqual((connection.received, len(self.server.log)), (b"", 1))

    def test_handler_that_fails_when_cancelled(self) -> None:
        """What a handler raises after the time-out is logged, with the request's id, not sent."""
        connection = self.get("clumsy")
        self.server.clock.advance(2.5)
        response = connection.response()
        self.assertEqual((response.status, connection.received), (408, b""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        line = next(line for line in self.server.log if "traceback" in line)
        self.assertEqual(line["request_id"], response.headers["x-request-id"])

    def test_answer_begun(self) -> None:
        """An answer that has begun can't become a 408: the connection is dropped instead."""
        connection = self.get("stream")
        self.server.clock.advance(2.5)
        self.assertTrue(connection.transport.aborted)

    def test_client_that_left(self) -> None:
        """A client that leaves cancels its handler at once."""
        connection = self.get("wait/100.0")
        connection.disconnect()
        self.assertEqual(self.slow.events, ["cancelled"])
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """Each of many requests has its own deadline."""
        connections = []
        for _ in range(20):
            connections.append(self.get("wait/100.0"))
            self.server.clock.advance(0.1)
        self.server.clock.advance(0.5)
        answered = [bool(connection.received) for connection in connections]
        self.assertEqual(answered, [True] + [False] * 19)
        self.server.clock.advance(0.95)
        self.assertEqual(sum(bool(c.received) for c in connections), 10)
