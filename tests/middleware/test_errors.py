"""Errors: one form for all, nothing of the inside in it, and our own faults in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.web.pages import forbidden, notFound
from twisted.web.resource import Resource
from twisted.web.static import File
from werkzeug.exceptions import Gone, RequestedRangeNotSatisfiable, UnsupportedMediaType
from werkzeug.exceptions import Unauthorized as WerkzeugUnauthorized

from tests.memory import AppTestCase
from x121 import errors
from x121.application import AppState
from x121.http.request import Request
from x121.testing.app import App
from x121.web.router import Router

_LENGTH = Path(__file__).stat().st_size


class Page(Resource):
    """A resource of Twisted's that knows GET only."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"page"


class Failing:
    router = Router()

    def __init__(self, state: AppState) -> None:
        self._clock = state.ws_manager.clock

    @router.route("/kind/<name>")
    def kind(self, request: Request, name: str) -> str:
        kinds: dict[str, errors.AppError] = {
            "NotFound": errors.NotFound("No project 7"),
            "BadRequest": errors.BadRequest(
                "Invalid fields", details=[{"path": "items[2].name", "message": "too long"}]
            ),
            "Conflict": errors.Conflict("Already there"),
            "InternalError": errors.InternalError("SELECT secret FROM inside"),
            "DatabaseError": errors.DatabaseError(psycopg2.DataError("SELECT secret")),
            "Unauthorized": errors.Unauthorized("Log in first"),
            "Forbidden": errors.Forbidden("Not yours"),
            "UnsupportedMediaType": errors.UnsupportedMediaType("Send JSON"),
            "ServiceUnavailable": errors.ServiceUnavailable("Later", retry_after=2.5),
        }
        raise kinds[name]

    @router.route("/busy")
    def busy(self, request: Request) -> str:
        raise errors.ServiceUnavailable("Later", detail="10 of 10 in use")

    @router.route("/no-kind")
    def no_kind(self, request: Request) -> str:
        raise errors.AppError("SELECT secret")

    @router.route("/own-json")
    def own_json(self, request: Request) -> str:
        request.setResponseCode(422)
        request.setHeader(b"Content-Type", b"application/json; charset=utf-8")
        return '{"error":"mine","code":"MINE"}'

    @router.route("/own-page")
    def own_page(self, request: Request) -> str:
        request.setResponseCode(429)
        request.setHeader(b"Content-Type", b"text/html")
        request.setHeader(b"Content-Encoding", b"gzip")
        request.setHeader(b"Retry-After", b"7")
        return "<h1>Slow down</h1>"

    @router.route("/own-416")
    def own_416(self, request: Request) -> str:
        request.setResponseCode(416)
        request.setHeader(b"Content-Range", b"bytes */9")
        request.setHeader(b"Accept-Ranges", b"bytes")
        return "<h1>No such range</h1>"

    @router.route("/own-401")
    def own_401(self, request: Request) -> str:
        request.setResponseCode(401)
        request.responseHeaders.addRawHeader(b"WWW-Authenticate", b'Basic realm="a"')
        request.responseHeaders.addRawHeader(b"WWW-Authenticate", b"Bearer")
        return "<h1>Log in</h1>"

    @router.route("/file")
    def file(self, request: Request) -> Any:
        return File(__file__)

    @router.route("/abort-416")
    def abort_416(self, request: Request) -> str:
        raise RequestedRangeNotSatisfiable(9)

    @router.route("/own-500")
    def own_500(self, request: Request) -> str:
        request.setResponseCode(500)
        return "SELECT secret"

    @router.route("/abort-401")
    def abort_401(self, request: Request) -> str:
        raise WerkzeugUnauthorized

    @router.route("/panic")
    def panic(self, request: Request) -> str:
        raise RuntimeError("secret of the inside")

    @router.route("/panic-later")
    async def panic_later(self, request: Request) -> str:
        await deferLater(self._clock, 1)
        raise RuntimeError("secret of the inside")

    @router.route("/panic-deferred")
    def panic_deferred(self, request: Request) -> Deferred[str]:
        return fail(RuntimeError("secret of the inside"))

    @router.route("/row")
    def row(self, request: Request) -> str:
        raise errors.RowNotFound

    @router.route("/half")
    def half(self, request: Request) -> str:
        request.write(b"half of")
        raise RuntimeError("broken")

    @router.route("/dressed")
    def dressed(self, request: Request) -> str:
        request.setHeader(b"Content-Length", b"5")
        request.setHeader(b"ETag", b'"1"')
        request.addCookie("session", "secret")
        request.setResponseCode(201)
        raise errors.NotFound("No")

    @router.route("/abort")
    def abort(self, request: Request) -> str:
        raise Gone

    @router.route("/abort-415")
    def abort_415(self, request: Request) -> str:
        raise UnsupportedMediaType

    @router.route("/page", methods=["GET", "POST"])
    def page(self, request: Request) -> Any:
        return Page()

    @router.route("/html-404")
    def html_404(self, request: Request) -> Any:
        return notFound()

    @router.route("/html-403")
    def html_403(self, request: Request) -> Any:
        return forbidden("<b>SELECT secret</b>")


def failing(state: AppState) -> Router:
    return Failing(state).router


class KindTests(AppTestCase):
    def test_kinds(self) -> None:
        """Each kind has its status, its code and its message, and details only if it has any."""
        app = self.app(failing)
        internal = "Internal server error"
        for name, status, code, message in (
            ("NotFound", 404, "NOT_FOUND", "No project 7"),
            ("Conflict", 409, "CONFLICT", "Already there"),
            ("InternalError", 500, "INTERNAL_ERROR", internal),
            ("DatabaseError", 500, "INTERNAL_ERROR", internal),
            ("Unauthorized", 401, "UNAUTHORIZED", "Log in first"),
            ("Forbidden", 403, "FORBIDDEN", "Not yours"),
            ("UnsupportedMediaType", 415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON"),
            ("ServiceUnavailable", 503, "SERVICE_UNAVAILABLE", "Later"),
        ):
            response = app.request("GET", f"/test/kind/{name}")
            self.assertEqual(response.status, status)
            self.assertEqual(response.headers["content-type"], "application/json")
            self.assertEqual(response.json, {"error": message, "code": code})
        self.assertEqual(len(self.flushLoggedErrors(errors.AppError)), 2)

    def test_details(self) -> None:
        """BadRequest lists the wrong fields."""
        response = self.app(failing).request("GET", "/test/kind/BadRequest")
        self.assertEqual(response.status, 400)
        details = [{"path": "items[2].name", "message": "too long"}]
        self.assertEqual(
            response.json, {"error": "Invalid fields", "code": "BAD_REQUEST", "details": details}
        )

    def test_headers(self) -> None:
        """401 carries WWW-Authenticate, 503 Retry-After in whole seconds."""
        app = self.app(failing)
        unauthorized = app.request("GET", "/test/kind/Unauthorized")
        self.assertEqual(unauthorized.headers["www-authenticate"], "Bearer")
        unavailable = app.request("GET", "/test/kind/ServiceUnavailable")
        self.assertEqual(unavailable.headers["retry-after"], "3")

    def test_row_not_found(self) -> None:
        """A row that isn't there is 404."""
        response = self.app(failing).request("GET", "/test/row")
        self.assertEqual(response.status, 404)
        self.assertEqual(response.json, {"error": "Resource not found", "code": "NOT_FOUND"})

    def test_faults_of_ours_are_logged(self) -> None:
        """An InternalError is logged at error level with its detail and the request's id."""
        app = self.app(failing)
        response = app.request("GET", "/test/kind/InternalError")
        (line,) = app.lines("x121.errors")
        self.assertEqual(line["level"], "error")
        self.assertIn("SELECT secret FROM inside", line["message"])
        self.assertEqual(line["request_id"], response.headers["x-request-id"])
        self.flushLoggedErrors(errors.InternalError)

    def test_why_there_is_no_service(self) -> None:
        """What a 503 keeps to itself is logged as a warning, without a traceback."""
        app = self.app(failing)
        response = app.request("GET", "/test/busy")
        self.assertEqual(response.json["error"], "Later")
        (line,) = app.lines("x121.errors")
        self.assertEqual(line["level"], "warn")
        self.assertIn("10 of 10 in use", line["message"])
        self.assertNotIn("traceback", line)

    def test_no_kind(self) -> None:
        """A bare AppError is a fault of ours: logged, and its text is not sent."""
        app = self.app(failing)
        response = app.request("GET", "/test/no-kind")
        self.assertEqual(response.json["error"], "Internal server error")
        self.assertIn("SELECT secret", app.lines("x121.errors")[0]["message"])
        self.flushLoggedErrors(errors.AppError)

    def test_faults_of_theirs_are_not(self) -> None:
        """A 4xx is the client's business: the access log has it, the error log doesn't."""
        app = self.app(failing)
        app.request("GET", "/test/kind/NotFound")
        app.request("GET", "/test/row")
        self.assertEqual(app.lines("x121.errors"), [])


@pytest_twisted.ensureDeferred
async def test_range_of_a_file() -> None:
    """A file of Twisted's answers a range behind its end with 416 and its length."""
    with App(failing) as app:
        response = await app.fetch("GET", "/test/file", {"Range": "bytes=999999-"})
    assert (response.status, response.json["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert response.headers["content-range"] == f"bytes */{_LENGTH}"


class PanicTests(AppTestCase):
    def assert_panic(self, app: App, response: Any) -> None:
        self.assertEqual(response.status, 500)
        self.assertEqual(response.json, {"error": "Internal server error", "code": "PANIC"})
        (line,) = app.lines("x121.errors")
        self.assertEqual(line["level"], "error")
        self.assertIn("RuntimeError: secret of the inside", line["traceback"])
        self.assertEqual(line["request_id"], response.headers["x-request-id"])
        self.assertEqual(app.request("GET", "/health").status, 200)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_plain(self) -> None:
        """An unexpected exception is PANIC, logged with its traceback; the server goes on."""
        app = self.app(failing)
        self.assert_panic(app, app.request("GET", "/test/panic"))

    def test_coroutine(self) -> None:
        """So is one raised after a coroutine has waited."""
        app = self.app(failing)
        connection = app.connect()
        connection.send(b"GET /test/panic-later HTTP/1.1\r\nHost: a\r\n\r\n")
        app.clock.advance(1)
        self.assert_panic(app, connection.response())

    def test_deferred(self) -> None:
        """So is a Deferred that fails."""
        app = self.app(failing)
        self.assert_panic(app, app.request("GET", "/test/panic-deferred"))

    def test_after_the_first_byte(self) -> None:
        """A failure after the answer began drops the connection: half is never taken for whole."""
        app = self.app(failing)
        connection = app.connect()
        connection.send(b"GET /test/half HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(connection.transport.aborted)
        self.assertNotIn(b"0\r\n\r\n", connection.received)
        self.assertEqual(app.lines("x121.access")[0]["status"], 500)
        self.flushLoggedErrors(RuntimeError)

    def test_what_was_prepared_is_thrown_away(self) -> None:
        """Status, headers and cookies that a handler had set don't dress its error."""
        response = self.app(failing).request("GET", "/test/dressed")
        self.assertEqual(response.status, 404)
        self.assertEqual(response.json["code"], "NOT_FOUND")
        self.assertNotIn("etag", response.headers)
        self.assertNotIn("set-cookie", response.headers)


class ForeignErrorTests(AppTestCase):
    def test_routes(self) -> None:
        """Klein's 404 and 405 have the form, and 405 an Allow."""
        app = self.app()
        self.assertEqual(app.request("GET", "/nowhere").json["code"], "NOT_FOUND")
        response = app.request("DELETE", "/health")
        self.assertEqual((response.status, response.json["code"]), (405, "METHOD_NOT_ALLOWED"))
        self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")

    def test_unknown_method(self) -> None:
        """A method nobody knows is 405 where there is a path, 404 where there is none."""
        app = self.app()
        self.assertEqual(app.request("BREW", "/health").status, 405)
        self.assertEqual(app.request("BREW", "/nowhere").status, 404)

    def test_werkzeug_exceptions(self) -> None:
        """A handler's HTTPException has the form, under a code of its own if need be."""
        app = self.app(failing)
        self.assertEqual(app.request("GET", "/test/abort").json, {"error": "Gone", "code": "GONE"})
        self.assertEqual(
            app.request("GET", "/test/abort-415").json["code"], "UNSUPPORTED_MEDIA_TYPE"
        )

    def test_own_json(self) -> None:
        """A handler's own JSON is left alone, whatever its parameters."""
        response = self.app(failing).request("GET", "/test/own-json")
        self.assertEqual((response.status, response.json["code"]), (422, "MINE"))

    def test_own_page(self) -> None:
        """A page in another form is replaced, with its headers, but for those of an error."""
        response = self.app(failing).request("GET", "/test/own-page")
        self.assertEqual((response.status, response.json["code"]), (429, "TOO_MANY_REQUESTS"))
        self.assertNotIn("content-encoding", response.headers)
        self.assertEqual(response.headers["retry-after"], "7")

    def test_range(self) -> None:
        """416 says how long the resource is, whoever answers with it."""
        app = self.app(failing)
        for path in ("own-416", "abort-416"):
            response = app.request("GET", f"/test/{path}", {"Range": "bytes=9-"})
            self.assertEqual(response.status, 416)
            self.assertEqual(response.json["code"], "RANGE_NOT_SATISFIABLE")
            self.assertEqual(response.headers["content-range"], "bytes */9")
            self.assertNotIn("accept-ranges", response.headers)

    def test_several_challenges(self) -> None:
        """Every way to log in that a page names is kept."""
        response = self.app(failing).request("GET", "/test/own-401")
        self.assertEqual(response.headers["www-authenticate"], 'Basic realm="a", Bearer')

    def test_own_500(self) -> None:
        """A page with status 500 is replaced and logged."""
        app = self.app(failing)
        response = app.request("GET", "/test/own-500")
        self.assertEqual(response.json["error"], "Internal server error")
        self.assertEqual(app.lines("x121.errors")[0]["level"], "error")

    def test_401_has_a_challenge(self) -> None:
        """401 carries WWW-Authenticate, whoever raised it."""
        response = self.app(failing).request("GET", "/test/abort-401")
        self.assertEqual((response.status, response.json["code"]), (401, "UNAUTHORIZED"))
        self.assertIn("www-authenticate", response.headers)

    def test_twisted_pages(self) -> None:
        """Error pages of Twisted's resources are replaced, text and all."""
        app = self.app(failing)
        response = app.request("GET", "/test/html-404")
        self.assertEqual((response.status, response.json["code"]), (404, "NOT_FOUND"))
        response = app.request("GET", "/test/html-403")
        self.assertEqual(response.json, {"error": "Forbidden", "code": "FORBIDDEN"})
        self.assertEqual(response.headers["content-length"], str(len(response.body)))

    def test_twisted_methods(self) -> None:
        """A resource of Twisted's that lacks the method is 405 with its Allow; others work."""
        app = self.app(failing)
        self.assertEqual(app.request("GET", "/test/page").body, b"page")
        response = app.request("POST", "/test/page")
        self.assertEqual((response.status, response.json["code"]), (405, "METHOD_NOT_ALLOWED"))
        self.assertIn("GET", response.headers["allow"])
