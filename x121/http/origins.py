"""Origins of pages: the server's own, and how a message shows a foreign one (RFC 6454)."""

from __future__ import annotations

from x121.http.request import Request

__all__ = ["own_origin", "quoted"]

_MAX_QUOTED = 100


def own_origin(request: Request) -> bytes:
    """Return the origin of this server's pages, as the client of ``request`` knows the server.

    The scheme of a client behind a proxy is the one that a trusted proxy names.
    """
    host = (request.requestHeaders.get(b"Host") or b"").lower()
    if request.isSecure():
        return b"https://" + host.removesuffix(b":443")
    return b"http://" + host.removesuffix(b":80")


def quoted(value: bytes) -> str:
    """Return what a client sent, short enough for a message; JSON escapes the rest."""
    text = value.decode("latin-1")
    return repr(text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "...")
