"""Static files of the console: the page, its style and its script."""

from __future__ import annotations

from pathlib import Path, PurePath

from x121.builtin.console.access import Access
from x121.http.policy import set_page_headers
from x121.http.request import Request
from x121.web.router import Router

__all__ = ["Pages"]

_STATIC = Path(__file__).parent / "static"
_NAMES = ("console.html", "console.css", "console.js")


class Pages:
    """Serves ``/console``, and below it the page's style and script, if ``access`` allows it."""

    router = Router()

    def __init__(self, access: Access) -> None:
        self._access = access
        self._files = {name: (_STATIC / name).read_bytes() for name in _NAMES}

    @router.route("/", is_documented=False)
    def page(self, request: Request) -> bytes:
        """Send the page."""
        body = self._serve(request, "console.html")
        self._access.keep(request)
        return body

    @router.route("/console.css", is_documented=False)
    def style(self, request: Request) -> bytes:
        """Send the style sheet."""
        return self._serve(request, "console.css")

    @router.route("/console.js", is_documented=False)
    def script(self, request: Request) -> bytes:
        """Send the script."""
        return self._serve(request, "console.js")

    def _serve(self, request: Request, name: str) -> bytes:
        self._access.check(request)
        # Access may be denied later, so no cache may keep it; and it is small.
        request.setHeader("Cache-Control", "no-store")
        set_page_headers(request, PurePath(name).suffix)
        return self._files[name]
