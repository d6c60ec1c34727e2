"""What is measured, second by second, and that nothing of it is left behind."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import AppTestCase
from tests.ws.client import WebSocket
from x121.application import AppState
from x121.builtin.console.recorder import HISTORY_SECS, MAX_ERRORS, PROBE_SECS, Recorder
from x121.http.request import Request
from x121.telemetry.histogram import ACCURACY
from x121.testing import App
from x121.web.router import Router

log = Logger(namespace="test.console")


class Feature:
    """Answers after a while, or never, or with a failure."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/late")
    def late(self, request: Request) -> Deferred[bytes]:
        answer: Deferred[bytes] = Deferred()
        self._clock.callLater(0.25, answer.callback, b"late")
        return answer

    @router.route("/fail")
    def fail(self, request: Request) -> bytes:
        raise RuntimeError("<b>unexpected</b>")


class RecorderTestCase(AppTestCase):
    def start(self, **environ: str) -> tuple[App, Recorder]:
        """Return a server in memory that is recorded."""
        app = self.app(lambda state: Feature(state).router, **environ)
        recorder = Recorder(app.state)
        recorder.startService()
        self.addCleanup(recorder.stopService)
        return app, recorder

    def second(self, app: App, seconds: float = 1.0) -> None:
        """Let time pass, in steps at whose ends every timer of the recorder is due, and exact."""
        app.clock.pump([PROBE_SECS] * round(seconds / PROBE_SECS))


class SampleTests(RecorderTestCase):
    def test_nothing_happens(self) -> None:
        """A second in which nothing happens has a sample, which says so."""
        app, recorder = self.start()
        begun = app.now()
        self.second(app)
        self.assertEqual(
            list(recorder.samples),
            [
                {
                    "time": begun + 1,
                    "requests_per_sec": 0.0,
                    "failed_per_sec": 0.0,
                    "p50_ms": None,
                    "p99_ms": None,
                    "connections": 0,
                    "websockets": 0,
                    "pool_in_use": 0,
                    "pool_waiting": 0,
                    "lag_ms": 0.0,
                }
            ],
        )

    def test_requests(self) -> None:
        """Requests are counted in the second in which they end, and those that fail apart."""
        app, recorder = self.start()
        for path in ("/health", "/nowhere", "/test/fail", "/test/fail"):
            app.request("GET", path)
        app.connect().send(b"GET /test/late HTTP/1.1\r\nHost: a\r\n\r\n")
        self.second(app, 2)
        first, second = recorder.samples
        self.assertEqual((first["requests_per_sec"], first["failed_per_sec"]), (5.0, 2.0))
        self.assertEqual((second["requests_per_sec"], second["failed_per_sec"]), (0.0, 0.0))
        self.assertEqual(first["p50_ms"], 0.001)
        self.assertApproximates(first["p99_ms"] or 0, 250, 250 * ACCURACY)
        self.assertIsNone(second["p99_ms"])
        self.flushLoggedErrors(RuntimeError)

    def test_connections(self) -> None:
        """Open connections are counted, and those that became WebSockets apart."""
        app, recorder = self.start()
        connections = [app.connect() for _ in range(3)]
        WebSocket(app, "/ws")
        self.second(app)
        connections[0].disconnect()
        self.second(app)
        first, second = recorder.samples
        self.assertEqual((first["connections"], first["websockets"]), (3, 1))
        self.assertEqual((second["connections"], second["websockets"]), (2, 1))

    def test_pool(self) -> None:
        """Who waits for a connection to the database is counted."""
        app, recorder = self.start()
        self.successResultOf(ensureDeferred(app.state.pool.start()))
        waiting = [ensureDeferred(app.state.pool.fetch_all("SELECT 1")) for _ in range(3)]
        self.second(app)
        (sample,) = recorder.samples
        self.assertEqual((sample["pool_in_use"], sample["pool_waiting"]), (0, 3))
        for query in waiting:
            query.cancel()
            self.failureResultOf(query)

    def test_lag(self) -> None:
        """The lag is the longest time that a timer was late, of that second alone."""
        app, recorder = self.start()
        app.clock.advance(0.375)  # a timer was due after an eighth of a second
        app.clock.advance(0.25)
        self.second(app, 2)
        first, second = recorder.samples
        self.assertEqual((first["lag_ms"], second["lag_ms"]), (250.0, 0.0))

    def test_late_sample(self) -> None:
        """Rates are those of the time that has really passed."""
        app, recorder = self.start()
        for _ in range(10):
            app.request("GET", "/health")
        app.clock.advance(5)
        (sample,) = recorder.samples
        self.assertEqual((sample["requests_per_sec"], sample["lag_ms"]), (2.0, 4875.0))

    def test_history(self) -> None:
        """The last two minutes are kept, and no more."""
        app, recorder = self.start()
        begun = app.now()
        self.second(app, HISTORY_SECS + 10)
        self.assertEqual(len(recorder.samples), HISTORY_SECS)
        self.assertEqual(recorder.sampled, HISTORY_SECS + 10)
        self.assertEqual(recorder.samples[0]["time"], begun + 11)


class ErrorTests(RecorderTestCase):
    def test_request(self) -> None:
        """An error has what the log's line has, and the id of its request."""
        app, recorder = self.start()
        response = app.request("GET", "/test/fail")
        (error,) = recorder.errors
        self.assertEqual(
            error,
            {
                "time": error["time"],
                "level": "error",
                "logger": "x121.errors",
                "message": "GET /test/fail: RuntimeError: <b>unexpected</b>",
                "request_id": response.headers["x-request-id"],
                "connection_id": None,
            },
        )
        self.flushLoggedErrors(RuntimeError)

    def test_levels(self) -> None:
        """What is no error is not among them."""
        _, recorder = self.start()
        log.warn("a warning")
        log.info("a fact")
        log.error("an error {number}", number=1)
        log.critical("a crisis")
        found = [(error["level"], error["message"]) for error in recorder.errors]
        self.assertEqual(found, [("error", "an error 1"), ("critical", "a crisis")])

    def test_bounds(self) -> None:
        """The last fifty are kept, each cut to five hundred characters."""
        _, recorder = self.start()
        for number in range(MAX_ERRORS + 7):
            log.error("{number} {text}", number=number, text="x" * 10_000)
        self.assertEqual(len(recorder.errors), MAX_ERRORS)
        self.assertTrue(recorder.errors[0]["message"].startswith("7 x"))
        self.assertEqual({len(error["message"]) for error in recorder.errors}, {501})

    def test_strange_events(self) -> None:
        """Events that say nothing, or can't be formatted, or look like a request, do no harm."""
        app, recorder = self.start()
        Logger(namespace="x121.access").info("no request")
        for text in ("{missing}", "", "{text.missing}"):
            log.error(text, text="")
        self.second(app)
        self.assertEqual(recorder.samples[0]["requests_per_sec"], 0.0)
        self.assertEqual(len(recorder.errors), 3)

    def test_threads(self) -> None:
        """Errors may come from any thread."""
        _, recorder = self.start()
        threads = [threading.Thread(target=log.error, args=("from a thread",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(recorder.errors), 8)


class LifeTests(SynchronousTestCase):
    def observers(self) -> list[Any]:
        return list(globalLogPublisher._observers)

    def test_leaves_nothing(self) -> None:
        """When it has stopped nothing is left, in the log or in the reactor; twice is as once."""
        app = App()
        self.addCleanup(app.close)
        before, clock = self.observers(), app.clock
        recorder = Recorder(app.state)
        recorder.startService()
        self.assertIn(recorder, self.observers())
        clock.pump([0.1] * 25)
        for _ in range(2):
            recorder.stopService()
            self.assertEqual((self.observers(), clock.getDelayedCalls()), (before, []))

    def test_routes_start_nothing(self) -> None:
        """Routes alone, such as those of a server that doesn't run, observe and time nothing."""
        before = self.observers()
        app = App(DIAGNOSTICS="true")
        app.close()
        self.assertEqual((self.observers(), app.clock.getDelayedCalls()), (before, []))

    def test_runs_with_the_server(self) -> None:
        """The state's services start it and stop it."""
        app = App(DIAGNOSTICS="true")
        app.state.services.startService()
        self.assertIsInstance(self.observers()[-1], Recorder)
        app.close()
        self.assertEqual(app.clock.getDelayedCalls(), [])

    def test_off(self) -> None:
        """Without DIAGNOSTICS there is none."""
        app = App()
        self.addCleanup(app.close)
        self.assertEqual(list(app.state.services), [])
