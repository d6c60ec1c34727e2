"""The page, its style and its script: files of this package, served as they are."""

from __future__ import annotations

from importlib.resources import files

from x121.api.router import Router
from x121.console.access import Access
from x121.http.policy import CONTENT_SECURITY_POLICY
from x121.http.request import Request

__all__ = ["Pages"]

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # who may see it now may not, tomorrow; and it is small
}
_STATIC = files(__package__) / "static"
_TYPES = {"console.html": "text/html", "console.css": "text/css", "console.js": "text/javascript"}


class Pages:
    """``/console``, and below it the page's style and script, for whom ``access`` lets in."""

    router = Router()

    def __init__(self, access: Access) -> None:
        self._access = access
        self._files = {name: (_STATIC / name).read_bytes() for name in _TYPES}

    @router.route("/", is_documented=False)
    def page(self, request: Request) -> bytes:
        """The page."""
        body = self._serve(request, "console.html")
        self._access.keep(request)
        return body

    @router.route("/console.css", is_documented=False)
    def style(self, request: Request) -> bytes:
        """How it looks."""
        return self._serve(request, "console.css")

    @router.route("/console.js", is_documented=False)
    def script(self, request: Request) -> bytes:
        """What it does."""
        return self._serve(request, "console.js")

    def _serve(self, request: Request, name: str) -> bytes:
        self._access.check(request)
        for header, value in _HEADERS.items():
            request.setHeader(header, value)
        request.setHeader("Content-Type", f"{_TYPES[name]}; charset=utf-8")
        return self._files[name]
