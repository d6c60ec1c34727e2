"""The page and the document, as they are served."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from tests.builtin.docs.features import EVIL, make_websockets
from tests.memory import AppTestCase
from x121.builtin.docs.asyncapi import make_asyncapi
from x121.builtin.docs.messages import MessageDocs
from x121.testing import App, Response
from x121.web.router import Router

PATHS = ("/asyncapi.json", "/docs/messages", "/docs/messages/page.css")
EMPTY = {"link", "meta"}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, its text, and its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY, f"<{tag}/> is not closed in HTML"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class ServedTests(AppTestCase):
    def served(self) -> App:
        """Return a server that has the documentation of tests' features below ``/test``."""
        return self.app(MessageDocs(make_websockets(), "Test", "1").serve(Router()))

    def get(self, path: str) -> Response:
        """Return what is served at a path, which is there."""
        response = self.served().request("GET", f"/test{path}")
        self.assertEqual(response.status, 200)
        return response

    def test_served(self) -> None:
        """All of it is served by default, and none with ``API_DOCS=false``."""
        for path in PATHS:
            self.assertEqual(self.app().request("GET", path).status, 200)
            self.assertEqual(self.app(API_DOCS="false").request("GET", path).status, 404)

    def test_document(self) -> None:
        """The document is that of the WebSockets that are given, twice the same."""
        response = self.get("/asyncapi.json")
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.json["operations"]["chat.said"]["action"], "send")
        app = self.served()
        self.assertEqual(*(app.request("GET", "/test/asyncapi.json").json for _ in range(2)))

    def test_echo(self) -> None:
        """An endpoint that is mounted is told of, and only then."""
        for way, expected in (("true", {"ws", "ws_echo", "ws_console"}), ("false", {"ws"})):
            document = self.app(DIAGNOSTICS=way).request("GET", "/asyncapi.json").json
            self.assertEqual(set(document["channels"]), expected)

    def test_policy(self) -> None:
        """A page may load its style sheet, and nothing else."""
        headers = self.get("/docs/messages").headers
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        policy = headers["content-security-policy"]
        self.assertTrue(policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'"))
        self.assertNotIn("unsafe", policy)
        self.assertEqual(headers["x-content-type-options"], "nosniff")

    def test_not_modified(self) -> None:
        """Each is asked for again each time, and whoever has it already gets 304."""
        app = self.app()
        for path in PATHS:
            headers = app.request("GET", path).headers
            self.assertEqual(headers["cache-control"], "no-cache")
            again = app.request("GET", path, {"If-None-Match": headers["etag"]})
            self.assertEqual((again.status, again.body), (304, b""))

    def test_style(self) -> None:
        """The style sheet is where the page looks for it, and asks nobody for anything."""
        response = self.get("/docs/messages/page.css")
        self.assertEqual(response.headers["content-type"], "text/css; charset=utf-8")
        self.assertNotRegex(response.body, rb"url\(|@import|https?:")
        self.assertEqual(
            Page(self.get("/docs/messages").body.decode()).links[0], "messages/page.css"
        )


class PageTests(AppTestCase):
    def setUp(self) -> None:
        app = self.app(MessageDocs(make_websockets(), "Test", "1").serve(Router()))
        self.html = app.request("GET", "/test/docs/messages").body.decode()
        self.page = Page(self.html)

    def test_html(self) -> None:
        """The page is HTML whose elements are closed, without scripts or styles of its own."""
        self.assertTrue(self.html.startswith("<!DOCTYPE html>\n<html lang="))
        self.assertEqual(self.page.open, [])
        self.assertNotIn("script", self.page.tags)
        self.assertNotIn("style", {*self.page.tags, *self.page.attributes})
        self.assertFalse({name for name in self.page.attributes if name.startswith("on")})

    def test_links(self) -> None:
        """Every link is to something on the page, the document, the style sheet, or to /docs."""
        self.assertEqual(len(self.page.ids), len(set(self.page.ids)))
        inside = {link[1:] for link in self.page.links if link.startswith("#")}
        self.assertGreater(len(inside), 15)
        self.assertEqual(inside - set(self.page.ids), set())
        outside = {link for link in self.page.links if not link.startswith("#")}
        self.assertEqual(outside, {"messages/page.css", "data:,", "../asyncapi.json", "../docs"})

    def test_told(self) -> None:
        """Messages, events, endpoints and types are told, with fields and rules."""
        for text in (
            "chat.say", "Say something to everybody in a room.", "They hear chat.said.",
            "See Said.", "What to say; quiet or loud.", "1 to 500 characters",
            'list of "loud" or "quiet"', "at most 3 items", "topic rooms/{room}", "list of Line",
            "/ws/echo", "Sends every message back", "Circle or Square", "object of Tree",
            "[number, number]", "integer or null optional",
            '{"type": "reply", "id": 1, "data": "pong"}',
        ):  # fmt: skip
            self.assertIn(text, self.page.text)

    def test_escaped(self) -> None:
        """Names and texts stand on the page as they were written, whatever is in them."""
        name = re.sub("`x`", "x", EVIL)
        self.assertGreaterEqual(self.page.text.count(EVIL), 3)
        self.assertGreaterEqual(self.page.text.count(name), 3)
        self.assertIn(json.dumps(EVIL), self.page.text)
        self.assertNotIn("<script", self.html)

    def test_evil_keys(self) -> None:
        """The document has such names, too, and its references work."""
        document = make_asyncapi(make_websockets(), title=EVIL, version="1")
        self.assertIn(EVIL, {one.get("title") for one in document["operations"].values()})
