"""Who the client is when trusted proxies stand between."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from x121.types import IpNetwork

__all__ = ["forwarded_for", "is_loopback", "make_trust"]


def make_trust(networks: Sequence[IpNetwork]) -> Callable[[str], bool]:
    """Return a function that tells whether an address, as text, is in one of ``networks``.

    An IPv4 address that came over an IPv6 socket (``::ffff:10.0.0.1``) counts as IPv4.
    """

    def trusts(text: str) -> bool:
        if not networks:
            return False
        address = _address(text)
        return address is not None and any(address in network for network in networks)

    return trusts


def forwarded_for(chain: Sequence[bytes], peer: str, trusts: Callable[[str], bool]) -> str:
    """Return the client's address from the ``X-Forwarded-For`` values of a trusted ``peer``.

    Every proxy appends the address it was called from, so only what trusted proxies wrote
    can be believed: read from the right, the first address that is no trusted proxy is the
    client.  What isn't an address ends the search.
    """
    client = peer
    for entry in reversed(b",".join(chain).split(b",")):
        text = entry.strip().decode("latin-1")
        address = _address(text)
        if address is None:
            break
        client = str(address)
        if not trusts(text):
            break
    return client


def is_loopback(text: str) -> bool:
    """Return whether ``text`` is an address of this machine, for itself alone."""
    address = _address(text)
    return address is not None and address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # A zone, as in fe80::1%eth0, means something on one machine only, and may be any text.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
