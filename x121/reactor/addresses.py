"""Addresses of connections, converted from the socket module's form to Twisted's."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

__all__ = ["scoped", "tcp_address"]


def tcp_address(address: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """Return the address of one end of a TCP connection."""
    if len(address) == 2:
        return IPv4Address("TCP", *address)
    return IPv6Address("TCP", *scoped(address))


def scoped(address: Any) -> Any:
    """Return ``address`` with its scope, if any, in its text, as in ``fe80::1%eth0``."""
    if type(address) is tuple and len(address) == 4 and address[3]:
        numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        return (socket.getnameinfo(address, numeric)[0], *address[1:])
    return address
