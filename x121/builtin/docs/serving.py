"""How documents and pages are sent, and where the files of this package are."""

from __future__ import annotations

from pathlib import Path

from x121.http.policy import WITH_SCRIPTS, set_page_headers
from x121.http.request import Request
from x121.web.etags import apply_etag

__all__ = ["STATIC", "serve_document"]

STATIC = Path(__file__).parent / "static"
"""The folder of what is sent as it is."""


def serve_document(
    request: Request, suffix: str, content: bytes, policy: str = WITH_SCRIPTS
) -> bytes:
    """Return what may change with the server, and is asked for again each time.

    ``suffix`` and ``policy`` are those of :func:`~x121.http.policy.set_page_headers`.
    """
    request.setHeader(b"Cache-Control", b"no-cache")
    set_page_headers(request, suffix, policy)
    return b"" if apply_etag(request, content) else content
