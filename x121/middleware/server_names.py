"""Refuses requests for names that aren't this server's: 421.

A page whose name is made to mean this server's address (DNS rebinding) is of the server's own
origin, as far as a browser knows; only the name in ``Host`` tells the two apart.  Stands inside of
``errors``, which answers the rejection, and outside of all that looks at origins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from twisted.web.resource import IResource

from x121.core.types import ServerName
from x121.errors import MisdirectedRequest
from x121.http.origins import quoted
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["ServerNames"]


class ServerNames(Middleware):
    """Lets requests through whose ``Host`` is one of ``server_names``, or absent (HTTP/1.0)."""

    def __init__(self, inner: IResource, *, server_names: Sequence[ServerName]) -> None:
        super().__init__(inner)
        self._server_names = server_names
        # The same few names, in request after request.
        self._is_served = lru_cache(maxsize=256)(self._find)

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`MisdirectedRequest`."""
        host = request.requestHeaders.get(b"Host")
        if host is not None and not self._is_served(host, 443 if request.isSecure() else 80):
            raise MisdirectedRequest(f"This server does not serve {quoted(host)}")
        return self.inner.render(request)

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
    """Return the name and the port in a valid Host; a dot at a name's end makes no difference."""
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
