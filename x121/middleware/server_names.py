"""Middleware that rejects requests for other host names with 421.

It prevents DNS rebinding: a page whose host name resolves to this server's address has the same
origin as the server, as far as a browser knows, and only ``Host`` tells the two apart.  It is
inside ``errors``, which sends the 421, and outside all middleware that checks origins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from twisted.web.resource import IResource

from x121.core.types import ServerName
from x121.errors import MisdirectedRequest
from x121.http.facts import RequestFacts
from x121.http.origins import quoted
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["ServerNames"]


class ServerNames(Middleware):
    """Accepts requests whose ``Host`` is one of ``server_names``, or absent (HTTP/1.0)."""

    def __init__(self, inner: IResource, *, server_names: Sequence[ServerName]) -> None:
        super().__init__(inner)
        self._server_names = server_names
        # Most requests have one of the same few names.
        self._is_served = lru_cache(maxsize=256)(self._find)

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`MisdirectedRequest`."""
        self.check(request)
        return self.inner.render(request)

    def check(self, request: RequestFacts) -> None:
        """Raise :class:`MisdirectedRequest` for a request to another host."""
        host = request.requestHeaders.get(b"Host")
        if host is not None and not self._is_served(host, 443 if request.isSecure() else 80):
            raise MisdirectedRequest(f"This server does not serve {quoted(host)}")

    def _find(self, host: bytes, default_port: int) -> bool:
        name, port = _split(host.decode("latin-1").lower(), default_port)
        address = _address(name)
        return any(
            (expected.port is None or expected.port == port)
            and (
                expected.host == name
                if isinstance(expected.host, str)
                else address is not None and address in expected.host
            )
            for expected in self._server_names
        )


def _split(authority: str, default_port: int) -> tuple[str, int]:
    """Return the name and the port in a valid Host, without a dot at the name's end."""
    name, _, port = authority.rpartition(":") if _has_port(authority) else (authority, "", "")
    return name.strip("[]").removesuffix("."), int(port or default_port)


def _has_port(authority: str) -> bool:
    return ":" in authority.rpartition("]")[2]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
