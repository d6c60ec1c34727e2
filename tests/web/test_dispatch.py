"""RoutingResource: what reaches a handler, and what becomes of whatever it returns or raises."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from klein import Klein
from klein.interfaces import IKleinRequest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.static import File
from werkzeug.exceptions import Conflict, NotFound, abort
from werkzeug.routing import RequestRedirect

from tests.memory import AppTestCase
from x121.application import AppState
from x121.http.request import Request
from x121.testing.connection import Response
from x121.web.dispatch import RoutingResource
from x121.web.router import Router

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def where(request: Request) -> str:
    """Return what a handler can learn of the path."""
    pre, post = (b"/".join(path).decode() for path in (request.prepath, request.postpath))
    return f"{pre}|{post}|{request.prePathURL().decode()}"


class Paths:
    """Handlers that look at the path."""

    router = Router()

    @router.route("/")
    def index(self, request: Request) -> str:
        return where(request)

    @router.route("/static/")
    def folder(self, request: Request) -> str:
        return where(request)

    @router.route("/<int:number>/<text>")
    async def arguments(self, request: Request, number: int, text: str) -> str:
        return where(request)

    @router.route("/branch", branch=True)
    def branch(self, request: Request) -> str:
        return f"{where(request)}|{IKleinRequest(request).branch_segments}"

    @router.route("/files", branch=True)
    def files(self, request: Request) -> Any:
        return File(str(Path(__file__).parent))

    @router.route("/klein", branch=True)
    def klein(self, request: Request) -> Any:
        inner = Klein()
        inner.route("/inner/<text>")(lambda request, text: where(request) + text)
        return inner.resource()

    @router.route("/url")
    def url(self, request: Request) -> str:
        url_for = IKleinRequest(request).url_for
        values: dict[str, Any] = {"number": 7, "text": "ü"}
        return " ".join(
            url_for("test.arguments", values, force_external=external) for external in (False, True)
        )


class PathTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(Paths().router)

    def body(self, path: str) -> str:
        return self.server.request("GET", path).body.decode()

    def test_segments(self) -> None:
        """A handler finds what its route has matched in ``prepath``, the rest in ``postpath``."""
        for path, expected in (
            ("/test", "test||http://example.com:12345/test"),
            ("/test/static/", "test/static||http://example.com:12345/test/static"),
            ("/test/%37/a%20b", "test/7/a b||http://example.com:12345/test/7/a%20b"),
        ):
            self.assertEqual(self.body(path).removesuffix("/"), expected)

    def test_branch(self) -> None:
        """A branch finds the segments below it, in two forms."""
        for path, rest, segments in (
            ("/test/branch", "", [""]),
            ("/test/branch/a/b", "a/b", ["a", "b"]),
        ):
            url = "http://example.com:12345/test/branch"
            self.assertEqual(self.body(path), f"test/branch|{rest}|{url}|{segments}")

    def test_resources(self) -> None:
        """A resource is asked for the child that the rest of the path names."""
        head = self.server.request("HEAD", "/test/files/test_dispatch.py")
        self.assertEqual(head.headers["content-length"], str(Path(__file__).stat().st_size))
        self.assertEqual(self.server.request("HEAD", "/test/files/nothing").status, 404)

    def test_kleins_resource(self) -> None:
        """Another Klein application can be served by its own resource, below a branch."""
        expected = "test/klein/inner/x||http://example.com:12345/test/klein/inner/xx"
        self.assertEqual(self.body("/test/klein/inner/x"), expected)
        self.assertEqual(self.server.request("GET", "/test/klein/nothing").status, 404)

    def test_url_for(self) -> None:
        """URLs of other routes are paths, or have the host that the client named."""
        path = "/test/7/%C3%BC"
        self.assertEqual(self.body("/test/url"), f"{path} http://example.com{path}")


class Ends:
    """Handlers that end in many ways."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    async def _wait(self) -> None:
        await deferLater(self._clock, 1)

    @router.route("/context")
    async def context(self, request: Request) -> str:
        token = VARIABLE.set("set")
        await self._wait()
        seen = VARIABLE.get()
        VARIABLE.reset(token)
        return f"{seen} {VARIABLE.get()}"

    @router.route("/raises")
    def raises(self, request: Request) -> None:
        abort(409)

    @router.route("/raises-later")
    async def raises_later(self, request: Request) -> None:
        await self._wait()
        raise Conflict

    @router.route("/failed")
    def failed(self, request: Request) -> Deferred[None]:
        return fail(Conflict())

    @router.route("/failure")
    def failure(self, request: Request) -> Failure:
        return Failure(Conflict())

    @router.route("/resource")
    def resource(self, request: Request) -> Resource:
        return Raising()

    @router.route("/resource-later")
    async def resource_later(self, request: Request) -> Resource:
        await self._wait()
        return Raising()

    @router.route("/panic")
    def panic(self, request: Request) -> Failure:
        return Failure(LookupError("nobody expects this"))

    @router.route("/deferred")
    async def deferred(self, request: Request) -> Deferred[str]:
        return succeed("awaited after all")

    @router.route("/twice")
    def twice(self, request: Request) -> str:
        request.write(b"one answer")
        request.finish()
        return "another one"

    @router.route("/forever")
    async def forever(self, request: Request) -> str:
        try:
            await Deferred()
        except CancelledError:
            request.setHeader(b"X-Late", b"1")
        return "too late"

    @router.route("/last-words/<int:code>")
    async def before_exit(self, request: Request, code: int) -> None:
        try:
            await Deferred()
        except CancelledError:
            raise (RequestRedirect("/elsewhere") if code == 308 else Conflict()) from None


class Raising(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        raise Conflict


class EndTests(AppTestCase):
    def setUp(self) -> None:
        self.server = self.app(lambda state: Ends(state).router)

    def request(self, path: str) -> Response:
        connection = self.server.connect()
        connection.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.server.clock.pump([1])
        return connection.response()

    def test_context(self) -> None:
        """A coroutine that waits finds its context variables as it left them."""
        self.assertEqual(self.request("/test/context").body, b"set unset")

    def test_werkzeugs_exceptions(self) -> None:
        """An exception of werkzeug's is its status, however a handler comes to it."""
        kinds = "raises", "raises-later", "failed", "failure", "resource", "resource-later"
        for kind in kinds:
            response = self.request(f"/test/{kind}")
            self.assertEqual((response.status, response.json["code"]), (409, "CONFLICT"), kind)
        self.assertEqual(self.server.lines("x121.errors"), [])

    def test_failure(self) -> None:
        """A Failure that is returned is one."""
        self.assertEqual(self.request("/test/panic").json["code"], "PANIC")
        self.assertIn("LookupError", self.server.lines("x121.errors")[-1]["message"])
        self.flushLoggedErrors(LookupError)

    def test_deferred_of_a_coroutine(self) -> None:
        """A Deferred that a coroutine returns is waited for."""
        self.assertEqual(self.request("/test/deferred").body, b"awaited after all")

    def test_two_answers(self) -> None:
        """An answer behind the one that a handler wrote itself is a fault, and not sent."""
        self.assertEqual(self.request("/test/twice").body, b"one answer")
        self.assertIn("is lost", self.server.lines("x121.errors")[-1]["message"])
        self.flushLoggedErrors(TypeError)

    def test_client_leaves(self) -> None:
        """A handler whose client has left is cancelled, and nobody hears what it still says."""
        for path in ("forever", "last-words/308", "last-words/409"):
            connection = self.server.connect()
            connection.send(f"GET /test/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            connection.disconnect()
        self.assertEqual([line["status"] for line in self.server.log], [499] * 3)

    def test_client_leaves_meanwhile(self) -> None:
        """A handler whose client left while it ran is not heard, nor does it wait for anything."""
        router = Router()
        waiting: Deferred[str] = Deferred()

        @router.route("/now")
        def now(request: Request) -> str:
            connection.disconnect()
            return "too late"

        @router.route("/later")
        async def later(request: Request) -> str:
            connection.disconnect()
            return await waiting

        server = self.app(router)
        for path in ("now", "later"):
            connection = server.connect()
            connection.send(f"GET /test/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        self.assertEqual([line["status"] for line in server.log], [499, 499])
        self.assertTrue(waiting.called)


class Plain:
    """Handlers that need not wait."""

    router = Router()

    @router.route("/plain")
    def plain(self, request: Request) -> bytes:
        return b"plain"

    @router.route("/text/<text>")
    def text(self, request: Request, text: str) -> str:
        return text

    @router.route("/coroutine/<int:number>")
    async def coroutine(self, request: Request, number: int) -> bytes:
        return await self._inner(number)

    async def _inner(self, number: int) -> bytes:
        return b"%d" % await succeed(number)


class CostTests(AppTestCase):
    def test_no_deferred(self) -> None:
        """No Deferred is made for a handler that has its answer ready."""
        made = []
        make = Deferred.__init__

        def count(deferred: Any, *args: Any) -> None:
            made.append(deferred)
            make(deferred, *args)

        dispatch = RoutingResource(Plain().router)
        channel = self.app().connect().channel
        self.patch(Deferred, "__init__", count)
        for path, body, own in (
            (b"/plain", b"plain", 0),
            (b"/text/a", b"a", 0),
            (b"/coroutine/7", b"7", 1),
        ):
            request = Request(channel)
            request.method, request.path = b"GET", path
            self.assertEqual(dispatch.render(request), body)
            self.assertEqual(len(made), own, path)


class ApplicationTests(SynchronousTestCase):
    def test_error_handlers(self) -> None:
        """An application with error handlers is refused, saying what to do instead."""
        router = Router()
        router.handle_errors(NotFound)(lambda request, failure: b"")
        error = self.assertRaises(ValueError, RoutingResource, router)
        self.assertIn("AppError", str(error))
