"""The server in memory: answers that are there, that come later, and that never come."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from x121.application import AppState
from x121.db.pool import Pool
from x121.http.request import Request
from x121.testing import App, waiting
from x121.web.responses import json_response
from x121.web.router import Router

reactor: Any = _reactor
_log = Logger(namespace="tests.feature")


class Feature:
    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock
        self._pool = state.pool
        self.cancelled = 0

    @router.route("/echo", methods=["POST"])
    def echo(self, request: Request) -> bytes:
        _log.info("Echoing for {who}", who=request.getHeader("X-Who"))
        said = [request.getHeader("Content-Type"), request.content.read().decode()]
        return json_response(request, said)

    @router.route("/sleep/<int:seconds>")
    async def sleep(self, request: Request, seconds: int) -> bytes:
        await deferLater(self._clock, seconds)
        return b"slept"

    @router.route("/database")
    async def database(self, request: Request) -> bytes:
        (number,) = await self._pool.fetch_one("SELECT 7 FROM pg_sleep(0.01)")
        await deferLater(self._clock, 0)  # the next turn, which isn't the passing of time
        return json_response(request, number)

    @router.route("/thread")
    async def thread(self, request: Request) -> bytes:
        return await deferToThread(b"from a thread".upper)

    @router.route("/never")
    async def never(self, request: Request) -> None:
        try:
            await Deferred()
        except CancelledError:
            self.cancelled += 1
            raise

    @router.route("/parts")
    async def parts(self, request: Request) -> bytes:
        request.write(b"one, ")
        await deferToThread(int)
        return b"two"

    @router.route("/hangs-up")
    async def hangs_up(self, request: Request) -> bytes:
        await deferToThread(int)
        request.channel.abort()  # type: ignore[attr-defined]  # no handler should
        await Deferred()
        return b""


def serve(state: AppState) -> Router:
    return Feature(state).router


class RequestTests(SynchronousTestCase):
    """What is there at once, without a reactor."""

    def setUp(self) -> None:
        self.server = self.enterContext(App(serve))

    def test_own_routes(self) -> None:
        """The project's own routes are served, and every wrapper is there."""
        response = self.server.request("GET", "/health", {"Origin": "http://localhost:5173"})
        self.assertEqual((response.status, response.json), (200, {"status": "ok"}))
        self.assertIn("x-request-id", response.headers)
        self.assertIn("access-control-allow-origin", response.headers)
        (line,) = self.server.lines("x121.access")
        self.assertEqual(line["path"], "/health")

    def test_json(self) -> None:
        """``json`` is the body, with its type; None is ``null``; a header given wins."""
        app = self.server
        for value, body in (({"a": [1]}, '{"a": [1]}'), (None, "null"), ("ü", '"\\u00fc"')):
            response = app.request("POST", "/test/echo", json=value)
            self.assertEqual(response.json, ["application/json", body])
        headers = {"Content-Type": "application/merge-patch+json"}
        response = app.request("POST", "/test/echo", headers, json=1)
        self.assertEqual(response.json, ["application/merge-patch+json", "1"])
        self.assertEqual(app.request("POST", "/test/echo", body=b"x").json, [None, "x"])

    def test_log(self) -> None:
        """What is logged meanwhile is there, decoded, with the request's id."""
        headers = {"X-Who": "me"}
        request_id = self.server.request("POST", "/test/echo", headers).headers["x-request-id"]
        (line,) = self.server.lines("tests.feature")
        self.assertEqual((line["message"], line["request_id"]), ("Echoing for me", request_id))
        self.server.close()
        _log.info("to nobody")
        self.assertEqual(len(self.server.lines("tests.feature")), 1)

    def test_peer(self) -> None:
        """A request comes from whom the test says."""
        self.server.request("GET", "/health", peer="10.0.0.1")
        self.assertEqual(self.server.lines("x121.access")[0]["remote"], "10.0.0.1")

    def test_no_answer_yet(self) -> None:
        """A request whose handler waits fails with what to do instead."""
        with self.assertRaises(AssertionError) as caught:
            self.server.request("GET", "/test/sleep/3")
        self.assertIn("response = await app.fetch(...)", str(caught.exception))
        self.assertIn("app.clock.advance(seconds)", str(caught.exception))

    def test_time(self) -> None:
        """Time passes when the test lets it, and not before."""
        connection = self.server.connect()
        connection.send_request("GET", "/test/sleep/3")
        self.server.clock.advance(2.9)
        self.assertIsNone(connection.next_response())
        self.server.clock.advance(0.1)
        self.assertEqual(connection.response().body, b"slept")

    def test_variables(self) -> None:
        """Variables of the configuration are in force, and one that isn't known is refused."""
        app = self.enterContext(App(serve, MAX_BODY_BYTES="10"))
        self.assertEqual(app.request("POST", "/test/echo", body=b"x" * 11).status, 413)
        with self.assertRaisesRegex(TypeError, "the configuration has no variable MAX_BODY"):
            App(MAX_BODY="10")

    def test_at(self) -> None:
        """A feature is served where the test says, a router as well as what makes one."""
        feature = Feature(self.server.state).router
        app = self.enterContext(App(feature, at="/api/v1/features"))
        self.assertEqual(app.request("POST", "/api/v1/features/echo").status, 200)

    def test_no_database(self) -> None:
        """Without a pool whoever asks the database gets 503."""
        self.assertEqual(self.server.request("GET", "/test/database").status, 503)

    def test_close(self) -> None:
        """When the server is closed, what handlers wait for is cancelled."""
        features: list[Feature] = []

        def router(state: AppState) -> Router:
            features.append(Feature(state))
            return features[0].router

        with App(router) as app:
            app.connect().send_request("GET", "/test/never")
            self.assertEqual(features[0].cancelled, 0)
        self.assertEqual(features[0].cancelled, 1)

    def test_hung_up(self) -> None:
        """A connection that the server has closed has no answer, and says so."""
        connection = self.server.connect()
        connection.send(b"GET")
        connection.channel.abort()
        with self.assertRaisesRegex(AssertionError, "the server closed the connection"):
            connection.response()


class StepTests(SynchronousTestCase):
    """The wall clock and the clock that everything waits by are two."""

    def setUp(self) -> None:
        self.app = self.enterContext(App(HEADER_TIMEOUT_SECS="10"))

    def test_waiting(self) -> None:
        """A wall clock that is set, forward or back, neither ends a wait nor makes it longer."""
        for step in (-3600, 3600):
            connection = self.app.connect()
            connection.send(b"GET /health HTTP/1.1\r\n")
            self.app.clock.advance(9)
            self.app.step_wall_clock(step)
            self.app.clock.advance(0)
            self.assertIsNone(connection.next_response())
            self.app.clock.advance(1)
            self.assertEqual(connection.response().status, 408)

    def test_shown(self) -> None:
        """The Date, the log and the time that a WebSocket came are the wall clock's."""
        for step in (-3600, 7200):
            self.app.step_wall_clock(step)
            date = self.app.request("GET", "/health").headers["date"]
            self.assertEqual(parsedate_to_datetime(date).timestamp(), self.app.now())
            logged = self.app.lines("x121.access")[-1]["timestamp"]
            self.assertEqual(datetime.fromisoformat(logged).timestamp(), self.app.now())
            self.app.websocket()
            *_, latest = self.app.state.ws_manager.connections()
            self.assertEqual(latest.connected_at.timestamp(), self.app.now())

    def test_durations(self) -> None:
        """A duration during which the wall clock is set is right all the same."""
        client = self.app.websocket()
        self.app.step_wall_clock(-3600)
        self.app.clock.advance(2)
        client.connection.disconnect()
        self.assertEqual(self.app.lines("x121.ws")[-1]["seconds"], 2.0)


# --- on a reactor ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_fetch(pool: Pool) -> None:
    """What a handler gets from the database is in the answer, though the clock stands still."""
    with App(serve, pool=pool) as app:
        before = app.clock.seconds()
        response = await app.fetch("GET", "/test/database")
        assert (response.status, response.json) == (200, 7)
        assert app.clock.seconds() == before


@pytest_twisted.ensureDeferred
async def test_several_at_once(pool: Pool) -> None:
    """Requests that were fetched are under way before anybody awaits them."""
    with App(serve, pool=pool) as app:
        answers = [app.fetch("GET", "/test/database") for _ in range(4)]
        assert pool.stats().waiting == 4
        assert [(await answer).json for answer in answers] == [7] * 4


@pytest_twisted.ensureDeferred
async def test_fetch_other_things() -> None:
    """Threads are waited for too; an answer that is there at once is given at once."""
    with App(serve) as app:
        assert (await app.fetch("GET", "/test/thread")).body == b"FROM A THREAD"
        assert app.fetch("GET", "/health").called


@pytest_twisted.ensureDeferred
async def test_whole_answers() -> None:
    """An answer is given when all of it is there, also one without a length, or a body."""
    with App(serve) as app:
        assert (await app.fetch("GET", "/test/parts")).body == b"one, two"
        closing = await app.fetch("GET", "/test/parts", {"Connection": "close"})
        assert closing.body == b"one, two"
        assert (await app.fetch("HEAD", "/test/thread")).headers["content-length"] == "13"
        connection = app.connect()
        connection.send(b"GET /test/parts HTTP/1.0\r\n\r\n")
        assert b"one, " in connection.received
        assert (await app.until(connection.next_response, "all of it")).body == b"one, two"


@pytest_twisted.ensureDeferred
async def test_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that doesn't come fails the test, after some seconds of real time."""
    monkeypatch.setattr(waiting, "PATIENCE_SECS", 0.02)
    with (
        App(serve) as app,
        pytest.raises(AssertionError, match=r"timed out.*: GET /test/never: no response"),
    ):
        await app.fetch("GET", "/test/never")


@pytest_twisted.ensureDeferred
async def test_hangs_up() -> None:
    """Who waits for an answer is told at once when the server hangs up."""
    with App(serve) as app, pytest.raises(AssertionError, match="the server closed the connection"):
        await app.fetch("GET", "/test/hangs-up")


@pytest_twisted.ensureDeferred
async def test_leaves_nothing() -> None:
    """A fetch that nobody awaits to its end is over when the server is closed."""
    before = reactor.getDelayedCalls()
    with App(serve) as app:
        answer = app.fetch("GET", "/test/never")
        assert len(reactor.getDelayedCalls()) == len(before) + 1
    assert reactor.getDelayedCalls() == before
    assert await answer is None  # so that no failure is left to be logged


@pytest_twisted.ensureDeferred
async def test_until() -> None:
    """``until`` gives what its condition does once that is true, or says what is missing."""
    things: list[str] = []
    with App() as app:
        reactor.callLater(0.01, things.append, "thing")
        assert await app.until(lambda: things and things[0], "a thing") == "thing"
        with pytest.raises(ZeroDivisionError):
            await app.until(lambda: 1 / 0, "the end")
