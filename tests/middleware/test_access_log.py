"""The access log: one line a request, whatever became of it."""

from __future__ import annotations

import io

from twisted.internet.task import deferLater
from twisted.protocols.basic import FileSender

from tests.memory import AppTestCase
from x121.application import AppState
from x121.http.request import Request
from x121.web.router import Router

KEYS = {
    "timestamp", "level", "logger", "method", "path", "status",
    "duration_ms", "bytes", "remote", "request_id",
}  # fmt: skip


class Slow:
    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/wait")
    async def wait(self, request: Request) -> str:
        await deferLater(self._clock, 1.5)
        return "waited"

    @router.route("/stream")
    async def stream(self, request: Request) -> None:
        request.write(b"first")
        await deferLater(self._clock, 100)

    @router.route("/file")
    async def file(self, request: Request) -> None:
        await FileSender().beginFileTransfer(io.BytesIO(b"x" * (1 << 20)), request)


def slow(state: AppState) -> Router:
    return Slow(state).router


class AccessLogTests(AppTestCase):
    def test_keys(self) -> None:
        """A line has exactly the contract's keys and its logger."""
        app = self.app()
        app.request("GET", "/health?token=secret", {"Cookie": "secret", "Authorization": "secret"})
        (line,) = app.lines("x121.access")
        self.assertEqual(set(line), KEYS)
        self.assertEqual(line["level"], "info")
        self.assertEqual((line["method"], line["path"]), ("GET", "/health"))
        self.assertEqual((line["status"], line["bytes"]), (200, 15))
        self.assertEqual(line["remote"], "192.0.2.7")

    def test_no_secrets(self) -> None:
        """Query strings, Authorization and Cookie never reach the log, at any level."""
        app = self.app(LOG_LEVEL="debug")
        headers = {"Cookie": "SECRET1", "Authorization": "Bearer SECRET2"}
        app.request("GET", "/health?SECRET3=x", headers)
        app.request("GET", "/nowhere?SECRET3=x", headers)
        self.assertNotIn("SECRET", repr(app.log))

    def test_duration(self) -> None:
        """The duration is in milliseconds, from the request's last byte to the answer's end."""
        app = self.app(slow)
        connection = app.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        app.clock.advance(1.5)
        self.assertEqual(connection.response().body, b"waited")
        (line,) = app.lines("x121.access")
        self.assertEqual((line["duration_ms"], line["bytes"]), (1500.0, 6))

    def test_errors_are_logged_with_their_status(self) -> None:
        """Answers made by wrappers and refusals made by the channel are logged like any other."""
        app = self.app(MAX_BODY_BYTES="10")
        app.request("GET", "/nowhere")
        app.request("POST", "/health")
        app.request("POST", "/health", body=b"x" * 11)
        app.connect().send(b"nonsense\r\n\r\n")
        preflight = {"Origin": "http://evil.test", "Access-Control-Request-Method": "GET"}
        app.request("OPTIONS", "/health", preflight)
        statuses = [line["status"] for line in app.lines("x121.access")]
        self.assertEqual(statuses, [404, 405, 413, 400, 403])

    def test_head_has_no_bytes(self) -> None:
        """``bytes`` counts the body that was sent, which for HEAD is none."""
        app = self.app()
        app.request("HEAD", "/health")
        self.assertEqual(app.lines("x121.access")[0]["bytes"], 0)

    def test_client_that_left(self) -> None:
        """A client that left first is 499 at info level, without a traceback."""
        app = self.app(slow)
        connection = app.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\n\r\n")
        app.clock.advance(0.25)
        connection.disconnect()
        (line,) = app.log
        self.assertEqual((line["status"], line["level"]), (499, "info"))
        self.assertEqual(line["duration_ms"], 250.0)
        self.assertNotIn("traceback", line)

    def test_client_that_left_in_the_middle_of_its_body(self) -> None:
        """So is one that left before its body was complete, and no handler hears of it."""
        app = self.app(slow)
        connection = app.connect()
        connection.send(b"GET /test/wait HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        connection.disconnect()
        (line,) = app.log
        self.assertEqual((line["status"], line["path"]), (499, "/test/wait"))
        self.assertEqual((connection.received, app.clock.getDelayedCalls()), (b"", []))

    def test_client_that_left_in_the_middle_of_its_answer(self) -> None:
        """A client that left mid-response is 499, with the bytes it was sent."""
        app = self.app(slow)
        connection = app.connect()
        connection.send(b"GET /test/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.disconnect()
        (line,) = app.log
        self.assertEqual((line["status"], line["bytes"]), (499, 5))

    def test_we_hung_up(self) -> None:
        """An answer that we broke off ourselves is logged with why, not as the client's doing."""
        app = self.app(slow, REQUEST_TIMEOUT_SECS="2")
        connection = app.connect()
        connection.send(b"GET /test/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        app.clock.advance(2)
        self.assertTrue(connection.transport.aborted)
        self.assertEqual([line["status"] for line in app.log], [408])

    def test_nothing_behind_an_answer_broken_off(self) -> None:
        """A request behind an answer that we broke off is not begun."""
        app = self.app(slow, REQUEST_TIMEOUT_SECS="2")
        connection = app.connect()
        get = b"GET /test/%s HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.send(get % b"stream" + get % b"wait")
        app.clock.advance(2)
        app.clock.advance(2)
        self.assertEqual([line["path"] for line in app.log], ["/test/stream"])

    def test_client_that_left_a_download(self) -> None:
        """A client that leaves while a producer sends to it is 499, without a traceback."""
        app = self.app(slow)
        connection = app.connect()
        connection.send(b"GET /test/file HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.disconnect()
        (line,) = app.log
        self.assertEqual((line["status"], line["level"]), (499, "info"))

    def test_refused_target(self) -> None:
        """A refused target that isn't a path is not logged: it may hold a password."""
        app = self.app()
        connection = app.connect()
        connection.send(b"GET http://user:SECRET@a/health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(app.log[0]["path"], "-")

    def test_remote_behind_proxies(self) -> None:
        """Behind trusted proxies the remote is the first address from the right that isn't one."""
        app = self.app(TRUSTED_PROXIES="10.0.0.0/8")
        chain = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1, 10.0.0.2"}
        app.request("GET", "/health", chain, peer="10.0.0.1")
        app.request("GET", "/health", chain, peer="192.0.2.7")
        remotes = [line["remote"] for line in app.lines("x121.access")]
        self.assertEqual(remotes, ["198.51.100.1", "192.0.2.7"])
