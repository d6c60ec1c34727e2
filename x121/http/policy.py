"""Security headers of the built-in pages and their files."""

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
"""Content-Security-Policy that allows this server's styles and images, and inline images."""

WITH_SCRIPTS = "; ".join((*_DIRECTIVES, "script-src 'self'", "connect-src 'self'"))
"""Content-Security-Policy that also allows this server's scripts, and requests to it."""

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
    """Set the Content-Type for a file with this ``suffix``, and the security headers.

    ``policy`` is the Content-Security-Policy.
    """
    request.setHeader("Content-Type", _TYPES[suffix])
    request.setHeader("Content-Security-Policy", policy)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
