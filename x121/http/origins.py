"""Origins of pages (RFC 6454): the server's own, and the quoting of others in messages."""

from __future__ import annotations

from x121.http.facts import RequestFacts

__all__ = ["own_origin", "quoted"]

_MAX_QUOTED = 100


def own_origin(request: RequestFacts) -> bytes:
    """Return the origin of this server's pages, as the client of ``request`` sees it.

    Behind a trusted proxy, the scheme is the one that the proxy forwards.
    """
    host = (request.requestHeaders.get(b"Host") or b"").lower()
    if request.isSecure():
        return b"https://" + host.removesuffix(b":443")
    return b"http://" + host.removesuffix(b":80")


def quoted(value: bytes) -> str:
    """Return a client's input, shortened and quoted for a message; JSON escapes the rest."""
    text = value.decode("latin-1")
    return repr(text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "...")
