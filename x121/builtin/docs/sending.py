"""How documents and pages are sent, and where the files of this package are."""

from __future__ import annotations

from pathlib import Path

from x121.http.policy import WITH_SCRIPTS, say_type
from x121.http.request import Request
from x121.web.etags import answer_if_known

__all__ = ["STATIC", "send"]

STATIC = Path(__file__).parent / "static"
"""The folder of what is sent as it is."""


def send(request: Request, suffix: str, content: bytes, policy: str = WITH_SCRIPTS) -> bytes:
    """Return what may change with the server, and is asked for again each time.

    ``suffix`` and ``policy`` are those of :func:`~x121.http.policy.say_type`.
    """
    request.setHeader(b"Cache-Control", b"no-cache")
    say_type(request, suffix, policy)
    return b"" if answer_if_known(request, content) else content
