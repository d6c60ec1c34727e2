"""Draining: what is idle closes, what is in flight finishes, what is left is dropped."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from tests.memory import App, AppTestCase
from x121.api.router import Router
from x121.http.request import Request


class Slow:
    router = Router()

    def __init__(self, app: App) -> None:
        self._app = app
        self.cancelled = 0

    @router.route("/wait")
    async def wait(self, request: Request) -> str:
        try:
            await deferLater(self._app.clock, 1)
        except CancelledError:
            self.cancelled += 1
            raise
        return "waited"


class DrainTests(AppTestCase):
    def setUp(self) -> None:
        self.slow: Slow

        def feature(app: App) -> Router:
            self.slow = Slow(app)
            return self.slow.router

        self.server = self.app(feature)

    def test_nothing_open(self) -> None:
        """With no connection open, draining is over at once."""
        self.successResultOf(self.server.site.drain())

    def test_idle(self) -> None:
        """Connections between two requests, and before their first, close at once."""
        used, fresh = self.server.connect(), self.server.connect()
        used.request("GET", "/health")
        self.successResultOf(self.server.site.drain())
        self.assertTrue(used.closed)
        self.assertTrue(fresh.closed)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_in_flight(self) -> None:
        """A request in flight finishes, says ``Connection: close``, and its connection closes."""
        connection = self.server.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        drained = self.server.site.drain()
        self.assertNoResult(drained)
        self.server.clock.advance(1)
        self.successResultOf(drained)
        response = connection.response()
        self.assertEqual((response.body, response.headers["connection"]), (b"waited", "close"))
        self.assertTrue(connection.closed)
        self.assertEqual((self.server.site.requests_drained, self.server.site.drop()), (1, 0))

    def test_half_received(self) -> None:
        """A request whose first bytes have arrived is in flight."""
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost:")
        drained = self.server.site.drain()
        self.assertFalse(connection.closed)
        connection.send(b" a\r\n\r\n")
        self.assertEqual(connection.response().headers["connection"], "close")
        self.successResultOf(drained)

    def test_pipelined_behind(self) -> None:
        """A request behind the one in flight is not begun."""
        connection = self.server.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        drained = self.server.site.drain()
        self.server.clock.advance(1)
        self.successResultOf(drained)
        self.assertEqual(connection.response().body, b"waited")
        self.assertEqual(connection.received, b"")

    def test_drop(self) -> None:
        """What is left is cancelled and dropped, and counted."""
        connections = [self.server.connect() for _ in range(3)]
        for connection in connections:
            connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        drained = self.server.site.drain()
        drained.cancel()
        self.failureResultOf(drained, CancelledError)
        self.assertEqual(self.server.site.drop(), 3)
        self.assertEqual(self.slow.cancelled, 3)
        self.assertTrue(all(connection.transport.aborted for connection in connections))
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.site.connections, 0)
