"""CORS: pages of the allowed origins may call, with credentials; others may not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.memory import ORIGIN, AppTestCase
from x121.http.request import Request
from x121.testing.app import App
from x121.testing.connection import Response
from x121.web.router import Router


class Varied:
    router = Router()

    @router.route("/own-vary")
    def own_vary(self, request: Request) -> str:
        request.setHeader(b"Vary", b"Accept-Encoding")
        return "x"

    @router.route("/two-varies")
    def two_varies(self, request: Request) -> str:
        request.responseHeaders.addRawHeader(b"Vary", b"Accept")
        request.responseHeaders.addRawHeader(b"Vary", b"Accept-Encoding")
        return "x"

    @router.route("/made")
    def made(self, request: Request) -> str:
        request.setHeader(b"ETag", b'"1"')
        request.setHeader(b"Location", b"/made/1")
        return "x"

    @router.route("/broken")
    def broken(self, request: Request) -> str:
        raise RuntimeError("broken")


def preflight(app: App, origin: str = ORIGIN, method: str = "PUT", headers: str = "") -> Response:
    lines = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        lines["Access-Control-Request-Headers"] = headers
    return app.request("OPTIONS", "/health", lines)


class SimpleRequestTests(AppTestCase):
    def test_allowed_origin(self) -> None:
        """An allowed origin is echoed, with credentials and the exposed header."""
        headers = self.app().request("GET", "/health", {"Origin": ORIGIN}).headers
        self.assertEqual(headers["access-control-allow-origin"], ORIGIN)
        self.assertEqual(headers["access-control-allow-credentials"], "true")
        self.assertEqual(headers["access-control-expose-headers"], "X-Request-Id")
        self.assertEqual(headers["vary"], "Origin")

    def test_what_an_answer_tells(self) -> None:
        """A page may read the tag and the location of an answer that has them."""
        app = self.app(Varied().router)
        headers = app.request("GET", "/test/made", {"Origin": ORIGIN}).headers
        self.assertEqual(headers["access-control-expose-headers"], "X-Request-Id, ETag, Location")

    def test_other_origins(self) -> None:
        """No other origin is allowed: not null, not one that only begins or ends alike."""
        app = self.app()
        for origin in (
            "null", "*", "", "http://localhost:5173.evil.test", "http://localhost:51730",
            "http://evil.test", "https://localhost:5173", "http://localhost", "HTTP://LOCALHOST:5173",
            "http://localhost:5173/", "http://localhost:5173 http://evil.test",
        ):  # fmt: skip
            response = app.request("GET", "/health", {"Origin": origin})
            self.assertEqual(response.status, 200)
            self.assertNotIn("access-control-allow-origin", response.headers, origin)
            self.assertNotIn("access-control-allow-credentials", response.headers)
            self.assertEqual(response.headers["vary"], "Origin")

    def test_vary_without_origin(self) -> None:
        """Answers to requests without an Origin vary by it, too: a cache must know."""
        self.assertEqual(self.app().request("GET", "/health").headers["vary"], "Origin")

    def test_vary_of_a_handler_is_kept(self) -> None:
        """A handler's own Vary is added to, not replaced."""
        headers = self.app(Varied().router).request("GET", "/test/own-vary").headers
        self.assertEqual(headers["vary"], "Accept-Encoding, Origin")

    def test_several_varies_of_a_handler_are_kept(self) -> None:
        """All lines of a handler's Vary are kept, with and without an Origin."""
        for origin in {}, {"Origin": ORIGIN}:
            headers = self.app(Varied().router).request("GET", "/test/two-varies", origin).headers
            self.assertEqual(headers["vary"], "Accept, Accept-Encoding, Origin")

    def test_on_errors(self) -> None:
        """Errors of every kind carry the headers, so that a page can read them."""
        app = self.app(Varied().router, MAX_BODY_BYTES="5")
        origin = {"Origin": ORIGIN}
        responses = [
            app.request("GET", "/nowhere", origin),
            app.request("POST", "/health", origin),
            app.request("POST", "/health", origin, b"too much"),
            app.request("GET", "/test/broken", origin),
            app.request("GET", "/health/ready", origin),
            app.request("GET", "/%ff", origin),
        ]
        self.assertEqual([r.status for r in responses], [404, 405, 413, 500, 503, 400])
        self.flushLoggedErrors(RuntimeError)
        for response in responses:
            self.assertEqual(response.headers["access-control-allow-origin"], ORIGIN)

    def test_several_origins(self) -> None:
        """Each of several configured origins is allowed, and only itself is echoed."""
        app = self.app(CORS_ORIGINS="https://a.test, https://b.test:8443")
        for origin in ("https://a.test", "https://b.test:8443"):
            headers = app.request("GET", "/health", {"Origin": origin}).headers
            self.assertEqual(headers["access-control-allow-origin"], origin)

    @given(st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=60))
    def test_any_origin(self, origin: str) -> None:
        """Whatever the Origin, it is echoed only if it is the allowed one, letter for letter."""
        app = App(make_channel=self.make_channel)
        try:
            connection = app.connect()
            connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\nOrigin: ")
            connection.send(origin.encode("latin-1") + b"\r\n\r\n")
            allowed = connection.response().headers.get("access-control-allow-origin")
        finally:
            app.close()
        self.assertEqual(allowed, ORIGIN if origin.strip(" \t") == ORIGIN else None)


class PreflightTests(AppTestCase):
    def test_allowed(self) -> None:
        """An allowed preflight is 204 with what is allowed, for an hour."""
        response = preflight(self.app(), headers="content-type, AUTHORIZATION")
        self.assertEqual((response.status, response.body), (204, b""))
        headers = response.headers
        self.assertEqual(headers["access-control-allow-origin"], ORIGIN)
        self.assertEqual(headers["access-control-allow-credentials"], "true")
        self.assertEqual(headers["access-control-allow-methods"], "GET, POST, PUT, DELETE, PATCH")
        self.assertEqual(headers["access-control-allow-headers"], "Content-Type, Authorization")
        self.assertEqual(headers["access-control-max-age"], "3600")

    def test_conditions(self) -> None:
        """Conditional requests are allowed, and named to those who ask for one."""
        headers = preflight(self.app(), headers="if-match, content-type").headers
        allowed = headers["access-control-allow-headers"]
        self.assertEqual(allowed, "Content-Type, Authorization, If-Match")

    def test_varies_by_all_three(self) -> None:
        """A preflight's answer varies by all three request headers, allowed or not."""
        names = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        app = self.app()
        self.assertEqual(preflight(app).headers["vary"], names)
        self.assertEqual(preflight(app, origin="http://evil.test").headers["vary"], names)

    def test_of_any_path(self) -> None:
        """A preflight is answered before any route is looked for."""
        lines = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        self.assertEqual(self.app().request("OPTIONS", "/nowhere", lines).status, 204)

    def test_refused(self) -> None:
        """A refused preflight is 403, names what was refused, and allows nothing."""
        app = self.app()
        for response, named in (
            (preflight(app, origin="http://evil.test"), "http://evil.test"),
            (preflight(app, origin="null"), "null"),
            (preflight(app, method="TRACE"), "TRACE"),
            (preflight(app, method="put"), "put"),
            (preflight(app, headers="Content-Type, X-Secret"), "X-Secret"),
            (preflight(app, headers="*"), "*"),
        ):
            self.assertEqual(response.status, 403)
            self.assertEqual(response.json["code"], "FORBIDDEN")
            self.assertIn(named, response.json["error"])
            self.assertEqual([h for h in response.headers if h.startswith("access-control")], [])

    def test_echo_is_bounded(self) -> None:
        """What is refused is named in at most 100 characters."""
        response = preflight(self.app(), headers="x" * 5000)
        self.assertLess(len(response.json["error"]), 200)

    def test_options_without_the_headers_is_no_preflight(self) -> None:
        """OPTIONS without Access-Control-Request-Method goes to the routes."""
        response = self.app().request("OPTIONS", "/health", {"Origin": ORIGIN})
        self.assertEqual((response.status, response.headers["allow"]), (204, "GET, HEAD, OPTIONS"))
