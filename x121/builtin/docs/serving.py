"""Responses with documents and pages, and the folder of this package's static files."""

from __future__ import annotations

from pathlib import Path

from x121.http.policy import WITH_SCRIPTS, set_page_headers
from x121.http.request import Request
from x121.web.etags import etag_of, is_current

__all__ = ["STATIC", "serve_document"]

STATIC = Path(__file__).parent / "static"
"""The folder of the static files."""


def serve_document(
    request: Request, suffix: str, content: bytes, policy: str = WITH_SCRIPTS
) -> bytes:
    """Return the response's body for ``content``, which clients have to revalidate each time.

    ``suffix`` and ``policy`` are those of :func:`~x121.http.policy.set_page_headers`.
    """
    request.setHeader(b"Cache-Control", b"no-cache")
    set_page_headers(request, suffix, policy)
    tag = etag_of(content)
    request.setHeader(b"ETag", tag)
    if is_current(request, tag):
        request.setResponseCode(304)
        return b""
    return content
