"""Draining: what is idle closes, what is in flight finishes, what is left is dropped."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from tests.memory import AppTestCase
from x121.application import AppState
from x121.http.request import Request
from x121.http.site import DRAIN_CLOSING_SECS
from x121.web.router import Router


class Slow:
    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock
        self.cancelled = 0

    @router.route("/stream")
    async def stream(self, request: Request) -> bytes:
        request.write(b"first, ")
        await deferLater(self._clock, 1)
        return b"last"

    @router.route("/wait")
    async def wait(self, request: Request) -> str:
        try:
            await deferLater(self._clock, 1)
        except CancelledError:
            self.cancelled += 1
            raise
        return "waited"


# A client has so long to close its side of a connection that the server has closed.
CLOSING = [0, DRAIN_CLOSING_SECS, 0]


class DrainTests(AppTestCase):
    def setUp(self) -> None:
        self.slow: Slow

        def feature(state: AppState) -> Router:
            self.slow = Slow(state)
            return self.slow.router

        self.server = self.app(feature)

    def test_nothing_open(self) -> None:
        """With no connection open, draining is over at once."""
        self.successResultOf(self.server.site.drain())

    def test_idle(self) -> None:
        """Connections between two requests, and before their first, close at once."""
        used, fresh = self.server.connect(), self.server.connect()
        used.request("GET", "/health")
        drained = self.server.site.drain()
        self.assertTrue(used.closed)
        self.assertTrue(fresh.closed)
        self.server.clock.pump(CLOSING)
        self.successResultOf(drained)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_in_flight(self) -> None:
        """A request in flight finishes, says ``Connection: close``, and its connection closes."""
        connection = self.server.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        drained = self.server.site.drain()
        self.assertNoResult(drained)
        self.server.clock.advance(1)
        response = connection.response()
        self.assertEqual((response.body, response.headers["connection"]), (b"waited", "close"))
        self.assertTrue(connection.closed)
        connection.disconnect()
        self.successResultOf(drained)
        self.assertEqual((self.server.site.requests_drained, self.server.site.drop()), (1, 0))

    def test_begun(self) -> None:
        """A connection whose answer began before the drain closes when that ends."""
        connection = self.server.connect()
        connection.send(b"GET /test/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        drained = self.server.site.drain()
        self.server.clock.advance(1)
        self.assertEqual(connection.response().body, b"first, last")
        self.assertTrue(connection.closed)
        self.server.clock.pump(CLOSING)
        self.successResultOf(drained)
        self.assertEqual(self.server.site.requests_drained, 1)

    def test_slow_reader(self) -> None:
        """An answer that is on its way to a slow reader is in flight, for as long as it takes."""
        connection = self.server.connect()
        connection.request("GET", "/health")
        connection.transport.full = True
        connection.channel.pauseProducing()  # as TCP does when its buffer is full
        drained = self.server.site.drain()
        self.server.clock.pump([5] * 4)
        self.assertFalse(connection.transport.aborted)
        self.assertNoResult(drained)
        self.assertEqual(self.server.site.drop(), 1)

    def test_slow_reader_that_gets_all(self) -> None:
        """Once the client has taken all, our side is closed, and the request is drained."""
        connection = self.server.connect()
        connection.request("GET", "/health")
        connection.channel.pauseProducing()
        drained = self.server.site.drain()
        self.assertTrue(connection.transport.half_closed)
        self.server.clock.pump(CLOSING)
        self.successResultOf(drained)
        self.assertEqual((self.server.site.requests_drained, self.server.site.drop()), (1, 0))

    def test_drop_half_received(self) -> None:
        """Half a request is answered with 503 at the end, and doesn't count as dropped."""
        connection = self.server.connect()
        connection.send(b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
        drained = self.server.site.drain()
        drained.cancel()
        self.failureResultOf(drained, CancelledError)
        self.assertEqual(self.server.site.drop(), 0)
        self.server.clock.advance(0)
        self.assertEqual(connection.response().status, 503)
        self.assertEqual([line["status"] for line in self.server.log], [503])
        self.assertEqual(self.server.site.connections, 0)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_twice(self) -> None:
        """Whoever drains a site that is draining waits for the same end."""
        connection = self.server.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        first, second = self.server.site.drain(), self.server.site.drain()
        self.server.clock.pump([1, *CLOSING])
        self.successResultOf(first)
        self.successResultOf(second)

    def test_half_received(self) -> None:
        """A request whose first bytes have arrived is in flight."""
        connection = self.server.connect()
        connection.send(b"GET /health HTTP/1.1\r\nHost:")
        drained = self.server.site.drain()
        self.assertFalse(connection.closed)
        connection.send(b" a\r\n\r\n")
        self.assertEqual(connection.response().headers["connection"], "close")
        self.server.clock.pump(CLOSING)
        self.successResultOf(drained)
        self.assertEqual((self.server.site.requests_drained, self.server.site.drop()), (1, 0))

    def test_pipelined_behind(self) -> None:
        """A request behind the one in flight is not begun."""
        connection = self.server.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        drained = self.server.site.drain()
        self.server.clock.pump([1, *CLOSING])
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
        self.server.clock.advance(0)
        self.assertTrue(all(connection.transport.aborted for connection in connections))
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.site.connections, 0)
