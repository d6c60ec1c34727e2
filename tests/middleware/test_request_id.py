"""The request's id: on the answer, in the log, and nobody else's choice."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tests.memory import AppTestCase
from x121.application import AppState
from x121.core.ids import make_id
from x121.http.request import Request
from x121.testing.app import App
from x121.web.router import Router

_log = Logger(namespace="tests.feature")
_USER: ContextVar[str] = ContextVar("user", default="nobody")


class Talkative:
    """Logs before, while and after it waits."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/coroutine")
    async def coroutine(self, request: Request) -> str:
        _log.info("before")
        await deferLater(self._clock, 1)
        _log.info("after")
        await self._deeper()
        return "done"

    async def _deeper(self) -> None:
        await deferLater(self._clock, 1)
        _log.info("deeper")

    @router.route("/context")
    def context(self, request: Request) -> str:
        before = _USER.get()
        _USER.set("somebody")
        return before

    @router.route("/id")
    def id(self, request: Request) -> str:
        return request.request_id


class RequestIdTests(AppTestCase):
    def test_random(self) -> None:
        """Every answer has an X-Request-Id of its own, a UUID of version 4."""
        app = self.app()
        ids = {app.request("GET", "/health").headers["x-request-id"] for _ in range(100)}
        self.assertEqual(len(ids), 100)
        for text in ids:
            self.assertEqual((UUID(text).version, str(UUID(text))), (4, text))

    def test_on_errors(self) -> None:
        """Errors, refusals and preflights have one, too."""
        connection = self.app().connect()
        connection.send(b"nonsense\r\n\r\n")
        self.assertIn("x-request-id", connection.response().headers)
        self.assertIn("x-request-id", self.app().request("GET", "/nowhere").headers)
        preflight = {"Origin": "http://evil.test", "Access-Control-Request-Method": "GET"}
        self.assertIn("x-request-id", self.app().request("OPTIONS", "/", preflight).headers)

    def test_handler_sees_it(self) -> None:
        """A handler finds it as ``request.request_id``."""
        response = self.app(lambda state: Talkative(state).router).request("GET", "/test/id")
        self.assertEqual(response.body.decode(), response.headers["x-request-id"])

    def test_strangers_id_is_ignored(self) -> None:
        """An id from anyone but a trusted proxy is not kept."""
        response = self.app().request("GET", "/health", {"X-Request-Id": "mine"})
        self.assertNotEqual(response.headers["x-request-id"], "mine")

    def test_trusted_proxys_id_is_kept(self) -> None:
        """An acceptable id from a trusted proxy is kept."""
        app = self.app(TRUSTED_PROXIES="10.0.0.0/8")
        for text in ("a", "A-b_c.9", "x" * 128):
            response = app.request("GET", "/health", {"X-Request-Id": text}, peer="10.1.2.3")
            self.assertEqual(response.headers["x-request-id"], text)

    def test_trusted_proxys_bad_id_is_replaced(self) -> None:
        """A trusted proxy's id with other characters, too long or empty is replaced."""
        app = self.app(TRUSTED_PROXIES="10.0.0.0/8")
        for text in ("", "a b", "x" * 129, "a;b", "a\xe9", 'a"b', "<script>"):
            response = app.request("GET", "/health", {"X-Request-Id": text}, peer="10.1.2.3")
            self.assertEqual(UUID(response.headers["x-request-id"]).version, 4)

    def test_every_line_of_a_request_has_its_id(self) -> None:
        """Lines logged before, while and after a handler waits carry the id of its request."""
        app = self.app(lambda state: Talkative(state).router)
        first, second = app.connect(), app.connect()
        for connection in (first, second):
            connection.send(b"GET /test/coroutine HTTP/1.1\r\nHost: a\r\n\r\n")
            app.clock.advance(0.5)
        app.clock.pump([0.5, 0.5, 0.5, 0.5])
        ids = [connection.response().headers["x-request-id"] for connection in (first, second)]
        for request_id in ids:
            mine = [
                line.get("message", "access")
                for line in app.log
                if line["request_id"] == request_id
            ]
            self.assertEqual(mine, ["before", "after", "deeper", "access"])

    def test_context_is_the_requests_own(self) -> None:
        """What a handler sets in its context is gone with its request."""
        app = self.app(lambda state: Talkative(state).router)
        connection = app.connect()
        self.assertEqual(connection.request("GET", "/test/context").body, b"nobody")
        self.assertEqual(connection.request("GET", "/test/context").body, b"nobody")

    def test_no_id_outside(self) -> None:
        """What is logged outside of a request carries no id."""
        app = self.app()
        app.request("GET", "/health")
        _log.info("outside")
        self.assertNotIn("request_id", app.log[-1])

    @given(st.binary(min_size=1, max_size=200))
    def test_any_bytes(self, given_id: bytes) -> None:
        """Whatever a trusted proxy sends, the answer's id is acceptable and the answer whole."""
        app = App(make_channel=self.make_channel, TRUSTED_PROXIES="10.0.0.0/8")
        try:
            connection = app.connect("10.0.0.1")
            connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: ")
            connection.send(given_id + b"\r\n\r\n")
            response = connection.response()
        finally:
            app.close()
        self.assertTrue(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", response.headers["x-request-id"]))
        self.assertIn(response.status, (200, 400))
        self.assertLessEqual(set(response.headers), _EXPECTED_HEADERS)


_EXPECTED_HEADERS = {
    "date", "connection", "content-type", "content-length", "x-request-id", "vary",
}  # fmt: skip


class MakeRequestIdTests(AppTestCase):
    def test_is_a_uuid4(self) -> None:
        """It is a UUID with the version and variant bits of RFC 9562, and never the same."""
        made: list[Any] = [make_id() for _ in range(1000)]
        self.assertEqual(len(set(made)), 1000)
        for text in made:
            parsed = UUID(text)
            self.assertEqual((str(parsed), parsed.version), (text, 4))
            self.assertEqual(parsed.variant, "specified in RFC 4122")
