"""Documentation of the messages: ``/asyncapi.json`` and ``/docs/messages``."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from x121.builtin.docs.serving import STATIC, serve_document
from x121.core import json_encoding
from x121.http.policy import WITHOUT_SCRIPTS
from x121.http.request import Request
from x121.messaging.router import WsRouter
from x121.web.router import Router

__all__ = ["MessageDocs"]


class MessageDocs:
    """Serves ``/asyncapi.json`` for programs, and ``/docs/messages`` for people.

    Both document the messages and events that ``websockets`` has at the first request.
    """

    document = Router()
    page = Router()

    def __init__(self, websockets: WsRouter, title: str, version: str) -> None:
        self._websockets = websockets
        self._title, self._version = title, version
        self._page = b""
        self._style = (STATIC / "messages.css").read_bytes()

    def serve(self, router: Router) -> Router:
        """Nest both into ``router``, and return ``router``."""
        return router.nest("/asyncapi.json", self.document).nest("/docs/messages", self.page)

    @cached_property
    def _document(self) -> dict[str, Any]:
        # Not at start, because few servers get a request for it.
        from x121.builtin.docs.asyncapi import make_asyncapi

        return make_asyncapi(self._websockets, title=self._title, version=self._version)

    @cached_property
    def _encoded_document(self) -> bytes:
        return json_encoding.encode(self._document)

    @document.route("/", is_documented=False)
    def show_document(self, request: Request) -> bytes:
        """Send the AsyncAPI document."""
        return serve_document(request, ".json", self._encoded_document)

    @page.route("/", is_documented=False)
    async def show_page(self, request: Request) -> bytes:
        """Send the page."""
        if not self._page:
            # Not at start either.
            from x121.builtin.docs.message_page import make_page

            # Relative URLs work behind a proxy that serves this below a path, too.
            self._page = await make_page(
                self._document,
                style="messages/page.css",
                source="../asyncapi.json",
                endpoints="../docs",
            )
        return serve_document(request, ".html", self._page, WITHOUT_SCRIPTS)

    @page.route("/page.css", is_documented=False)
    def show_style(self, request: Request) -> bytes:
        """Send the page's style sheet."""
        return serve_document(request, ".css", self._style)
