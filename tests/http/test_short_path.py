"""The short path: how short it is, and who is on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from unittest import mock

import x121
from tests.http.recorded import GETS, POSTS
from tests.memory import AppTestCase
from x121.application import Application, AppState
from x121.core.models import Id, Model, Text
from x121.http.channel import Channel
from x121.http.fast import FastChannel
from x121.http.request import Request
from x121.middleware.base import Middleware
from x121.testing.app import App, Served
from x121.web.router import Router

MAX_CALLS = 45
OURS = str(Path(x121.__file__).parent)
GET = b"GET /test/7 HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost:5173\r\n\r\n"


class Thing(Model):
    """What a typed endpoint returns."""

    id: Id


class Note(Model):
    """What a typed endpoint takes."""

    text: Text


class Things:
    """A typed coroutine with an integer in its path, and a handler of Klein's."""

    router = Router()

    @router.get("/<int:thing_id>")
    async def show(self, thing_id: Id) -> Thing:
        return Thing(id=thing_id)

    @router.post("/")
    async def create(self, note: Note) -> Note:
        return note

    @router.get("/request")
    def show_request(self, request: Request) -> str:
        return type(request).__name__

    @router.route("/klein")
    def klein(self, request: Request) -> bytes:
        return b"{}"


class ShortPathTests(AppTestCase):
    """Typed requests need nothing of Twisted's."""

    make_channel = FastChannel

    def things(self, served: Served | None = None) -> App:
        """Return a server with things."""
        return self.app(served or Things().router)

    def test_calls(self) -> None:
        """A typed GET makes few calls of the framework's functions."""
        connection = self.things().connect()
        for _ in range(2):  # the first fills caches
            connection.send(GET)
        calls = []

        def note(frame: FrameType, event: str, _: object) -> None:
            name = frame.f_code.co_filename
            if event == "call" and name.startswith(OURS) and "/testing/" not in name:
                calls.append(frame.f_code.co_qualname)

        receive = connection.channel.dataReceived
        sys.setprofile(note)
        try:
            receive(GET)
        finally:
            sys.setprofile(None)
        self.assertEqual([connection.response().status for _ in range(3)], [200] * 3)
        self.assertLessEqual(len(calls), MAX_CALLS, "\n".join(calls))

    @contextmanager
    def only_the_short_path(self) -> Iterator[None]:
        """Fail if Twisted's parser or request is used."""

        def fail(*_: object, **__: object) -> NoReturn:
            raise AssertionError("Twisted's parser or request was used")

        parser = mock.patch.object(Channel, "lineReceived", fail)
        with parser, mock.patch.object(Request, "__init__", fail):
            yield

    def test_no_request(self) -> None:
        """No request of Twisted's is made for a typed endpoint, nor for a path without one."""
        app = self.things()
        with self.only_the_short_path():
            for path, status in ("/test/7", 200), ("/nothing", 404), ("/health", 200):
                self.assertEqual(app.request("GET", path).status, status)
            self.assertRaises(AssertionError, app.request, "GET", "/test/klein")

    def test_recorded(self) -> None:
        """What curl, a browser and nginx send takes the short path, also with its body behind."""
        app = self.things()
        requests = [(name, text.format("/test/7")) for name, text in GETS.items()]
        requests += [(name, text.format("/test")) for name, text in POSTS.items()]
        with self.only_the_short_path():
            for name, text in requests:
                head, end, body = text.encode().partition(b"\r\n\r\n")
                for pieces in ([head + end + body], [head + end, body] if body else []):
                    connection = app.connect()
                    for piece in pieces:
                        connection.send(piece)
                    if pieces:
                        self.assertEqual(connection.response().status, 200, name)
                        self.assertEqual(connection.closed, b"close" in head, name)

    def test_request_where_it_is_needed(self) -> None:
        """Handlers that take the request get it."""
        app = self.things()
        self.assertIn("Request", app.request("GET", "/test/request").json)
        self.assertEqual(app.request("GET", "/test/klein").status, 200)

    def test_middleware_of_the_application(self) -> None:
        """An application's own middleware sees every request."""
        seen = []

        class Watch(Middleware):
            def render(self, request: Request) -> bytes | int:
                seen.append(request.path)
                return self.inner.render(request)

        def watch(inner: object, state: AppState) -> Watch:
            return Watch(inner)  # type: ignore[arg-type]

        app = self.things(Application("watched", middleware=[watch]))
        self.assertEqual(app.request("GET", "/health").status, 200)
        self.assertEqual(seen, [b"/health"])
