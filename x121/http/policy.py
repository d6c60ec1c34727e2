"""What a browser may do with a page of ours, and with all that belongs to it."""

from __future__ import annotations

from x121.http.request import Request

__all__ = ["WITHOUT_SCRIPTS", "WITH_SCRIPTS", "set_page_headers"]

_DIRECTIVES = (
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)

WITHOUT_SCRIPTS = "; ".join(_DIRECTIVES)
"""Use the styles of this server, and show its pictures, and small ones that stand in the page."""

WITH_SCRIPTS = "; ".join((*_DIRECTIVES, "script-src 'self'", "connect-src 'self'"))
"""Run the scripts of this server, too, and call it."""

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}


def set_page_headers(request: Request, suffix: str, policy: str = WITH_SCRIPTS) -> None:
    """Answer with what a file that ends with ``suffix`` has in it, and is treated as nothing else.

    ``policy`` is the Content-Security-Policy.
    """
    request.setHeader("Content-Type", _TYPES[suffix])
    request.setHeader("Content-Security-Policy", policy)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
