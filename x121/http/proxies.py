"""Client addresses behind trusted proxies."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

from x121.core.types import IpNetwork

__all__ = [
    "MAX_HOPS",
    "forwarded_for",
    "hops",
    "is_loopback",
    "node_address",
    "trusted_proxy_check",
]

MAX_HOPS = 32
"""The number of nodes that are read from a forwarding field."""

# An IPv4 address, or an IPv6 address in brackets, with an optional port, which may be obfuscated.
_WITH_PORT = re.compile(
    rb"(?:([0-9.]+)|\[([0-9A-Fa-f]*:[^]]*)\])(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
)


def trusted_proxy_check(networks: Sequence[IpNetwork]) -> Callable[[str], bool]:
    """Return a function that checks if an address, as text, is in one of ``networks``.

    An IPv4 address of an IPv6 socket (``::ffff:10.0.0.1``) counts as IPv4.
    """

    def is_trusted(text: str) -> bool:
        if not networks:
            return False
        address = _address(text)
        return address is not None and any(address in network for network in networks)

    return is_trusted


def forwarded_for(chain: Sequence[bytes], peer: str, is_trusted: Callable[[str], bool]) -> str:
    """Return the client's address from the ``X-Forwarded-For`` values of a trusted ``peer``.

    Every proxy appends the address of its own client, so only the entries of trusted proxies are
    reliable: read from the right, the first address that isn't a trusted proxy is the client.  The
    search stops at an entry that isn't an address, and at the end of :func:`hops`.
    """
    client = peer
    for node in hops(chain):
        address = node_address(node)
        if not address:
            break
        client = address
        if not is_trusted(address):
            break
    return client


def hops(values: Sequence[bytes]) -> list[bytes]:
    """Return the nodes in forwarding fields, from right to left.

    If there are more than :data:`MAX_HOPS`, one empty node replaces the rest.
    """
    nodes = b",".join(values).rsplit(b",", MAX_HOPS)
    if len(nodes) > MAX_HOPS:
        nodes[0] = b""
    nodes.reverse()
    return nodes


def node_address(node: bytes) -> str:
    """Return the address of ``node`` in its usual form, or empty text if it isn't an address.

    A port may follow an IPv4 address, or an IPv6 address in brackets (RFC 7239 section 6).
    """
    node = node.strip()
    parts = _WITH_PORT.fullmatch(node)
    host = node if parts is None else parts[1] or parts[2]
    address = _address(host.decode("latin-1"))
    return "" if address is None else str(address)


def is_loopback(text: str) -> bool:
    """Return True if ``text`` is a loopback address."""
    address = _address(text)
    return address is not None and address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # A zone, as in fe80::1%eth0, has a meaning on one machine only, and may be any text.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
