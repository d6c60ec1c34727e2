"""The document and the page, as they are served.  What a browser makes of them: tests/process."""

from __future__ import annotations

import re

from openapi_spec_validator import validate

from tests.memory import AppTestCase
from x121.testing.app import App
from x121.web.router import Router


class EndpointDocsTests(AppTestCase):
    def test_document(self) -> None:
        """The document of the whole API is valid, JSON, and asked for again each time."""
        response = self.app().request("GET", "/openapi.json")
        self.assertEqual((response.status, response.json["openapi"]), (200, "3.1.1"))
        validate(response.json)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(response.headers["cache-control"], "no-cache")

    def test_not_modified(self) -> None:
        """Whoever has the document or the page already gets 304."""
        app = self.app()
        for path in ("/openapi.json", "/docs"):
            tag = app.request("GET", path).headers["etag"]
            again = app.request("GET", path, {"If-None-Match": tag})
            self.assertEqual((again.status, again.headers["etag"], again.body), (304, tag, b""))
            other = app.request("GET", path, {"If-None-Match": '"other"'})
            self.assertEqual(other.status, 200)
            for condition, status in ((tag, 200), (f"W/{tag}", 200), ("*", 200), ('"other"', 412)):
                matched = app.request("GET", path, {"If-Match": condition})
                self.assertEqual(matched.status, status)

    def test_every_route(self) -> None:
        """The document has the routes of features that are nested after it."""
        feature = Router()

        @feature.get("/late")
        def late() -> None: ...

        paths = self.app(feature).request("GET", "/openapi.json").json["paths"]
        self.assertIn("/test/late", paths)
        self.assertIn("/health", paths)

    def test_not_told(self) -> None:
        """The documentation and the WebSockets aren't part of the API that the document tells."""
        paths = self.app().request("GET", "/openapi.json").json["paths"]
        for prefix in ("/docs", "/openapi", "/ws"):
            self.assertFalse([path for path in paths if path.startswith(prefix)])

    def test_page(self) -> None:
        """The page may only use what this server has, is in nobody's frame, and tells nobody."""
        response = self.app().request("GET", "/docs")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(response.headers["referrer-policy"], "no-referrer")
        policy = dict(
            directive.split(" ", 1)
            for directive in response.headers["content-security-policy"].split("; ")
        )
        self.assertEqual(
            policy,
            {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "img-src": "'self' data:",
                "connect-src": "'self'",
                "base-uri": "'none'",
                "form-action": "'none'",
                "frame-ancestors": "'none'",
            },
        )

    def test_nothing_inline(self) -> None:
        """The page has no script, style or address of another host in it."""
        page = self.app().request("GET", "/docs").body.decode()
        self.assertEqual(re.findall(r"<script(?! defer src=)|<style|style=| on\w+=|//", page), [])

    def test_heads(self) -> None:
        """HEAD tells the length, and nothing is posted here."""
        app = self.app()
        for path in ("/openapi.json", "/docs"):
            got, head = app.request("GET", path), app.request("HEAD", path)
            self.assertEqual(head.headers["content-length"], str(len(got.body)))
            self.assertEqual(app.request("POST", path).status, 405)

    def test_off(self) -> None:
        """With ``API_DOCS=false`` there is nothing."""
        app = self.app(API_DOCS="false")
        assets = _assets(self.app())
        self.assertEqual(len(assets), 4)
        for path in ("/openapi.json", "/docs", *assets):
            self.assertEqual(app.request("GET", path).status, 404)
        self.assertEqual(app.request("GET", "/health").status, 200)


def _assets(app: App) -> list[str]:
    """Return the paths that the page loads."""
    page = app.request("GET", "/docs").body.decode()
    return [f"/{path}" for path in re.findall(r'(?:src|href)="(docs/\w+/[\w.-]+)"', page)]
