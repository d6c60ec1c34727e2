"""How WebSockets leave when the server ends: within its budget, and counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from tests.ws.client import WebSocket, WebSocketTestCase
from x121.messaging.handlers import Handlers
from x121.runtime.connections import Report, drain_connections
from x121.runtime.lifecycle import Budget
from x121.testing.app import App
from x121.ws.protocol import CLOSE_TIMEOUT_SECS

BUDGET_SECS = 10.0


class ShutdownTests(WebSocketTestCase):
    def waiting(self) -> WebSocket:
        """Return a client whose message is never answered."""
        handlers = Handlers()

        @handlers.on("wait")
        def wait(_: object) -> Deferred[Any]:
            return Deferred()

        environ = {"REQUEST_TIMEOUT_SECS": "1000", "WS_HEARTBEAT_INTERVAL_SECS": "1000"}
        client = self.connect(self.serve(lambda _: handlers, **environ), "/test")
        client.send_message("wait", 1)
        return client

    def stop(self, app: App, budget_secs: float = BUDGET_SECS) -> Deferred[Report]:
        """Begin to end every connection of a server."""
        budget = Budget(budget_secs, app.clock)
        draining = drain_connections(app.site, app.state.ws_manager, budget, clock=app.clock)
        return ensureDeferred(draining)

    def assertReport(self, stopping: Deferred[Report], closed: int, dropped: int) -> None:
        """Fail unless the server has stopped, with so many WebSockets closed and dropped."""
        report = self.successResultOf(stopping)
        self.assertEqual((report.websockets_closed, report.websockets_dropped), (closed, dropped))
        self.assertEqual(report.exit_code, 1 if dropped else 0)

    def test_everybody_leaves(self) -> None:
        """Who answers its close frame is counted as closed; nothing is left to wait for."""
        app = self.app()
        clients = [self.connect(app), self.connect(app)]
        stopping = self.stop(app)
        for client in clients:
            self.assertClosed(client, 1001)
            client.close(1001)
        self.assertNoResult(stopping)
        app.clock.advance(0.1)
        self.assertReport(stopping, 2, 0)
        self.assertEqual(app.clock.getDelayedCalls(), [])
        self.assertEqual({line["level"] for line in app.log}, {"info", "debug"})

    def test_nobody(self) -> None:
        """Where nobody is connected it takes no time."""
        self.assertReport(self.stop(self.app()), 0, 0)

    def test_reserve(self) -> None:
        """Who waits for an answer is told a fifth before the end, and at most 2 s before it."""
        for budget_secs, told_at in ((5.0, 4.0), (100.0, 98.0)):
            client = self.waiting()
            stopping = self.stop(client.app, budget_secs)
            client.app.clock.advance(told_at - 0.1)
            self.assertEqual(client.frames(), [])
            client.app.clock.advance(0.1)
            self.assertClosed(client, 1001)
            self.assertNoResult(stopping)
            client.connection.disconnect()
            client.app.clock.advance(0)
            self.assertReport(stopping, 1, 0)
            self.assertEqual(client.app.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """Who hasn't answered its close frame when the budget ends is dropped, and counted so."""
        for client in (self.connect(self.app()), self.waiting()):
            stopping = self.stop(client.app, CLOSE_TIMEOUT_SECS / 2)
            client.app.clock.advance(CLOSE_TIMEOUT_SECS / 2 * 0.9)
            self.assertClosed(client, 1001)
            client.app.clock.advance(CLOSE_TIMEOUT_SECS / 2 * 0.09)
            self.assertFalse(client.connection.transport.aborted)
            self.assertNoResult(stopping)
            client.app.clock.advance(CLOSE_TIMEOUT_SECS / 2 * 0.02)
            self.assertTrue(client.connection.transport.aborted)
            self.assertReport(stopping, 0, 1)
