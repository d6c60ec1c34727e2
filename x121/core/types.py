"""Small types for all packages."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, NewType, TypeAlias

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorPluggableNameResolver,
    IReactorProcess,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
    IReactorUNIX,
)

__all__ = ["NO_NUL", "DbId", "IReactor", "IpNetwork", "ServerName"]


class IReactor(
    IReactorCore,
    IReactorTime,
    IReactorTCP,
    IReactorUNIX,
    IReactorProcess,
    IReactorThreads,
    IReactorPluggableNameResolver,
):
    """The reactor, for type checkers: the interfaces of both supported reactors."""


DbId = NewType("DbId", int)
"""The primary key of a row: a PostgreSQL ``BIGINT`` identity."""

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
"""A range of addresses, such as 10.0.0.0/8."""


class ServerName(NamedTuple):
    """A name of the server: a host in lower case or a range of addresses, and a port or any."""

    host: str | IpNetwork
    port: int | None = None


NO_NUL = r"^[^\x00]*$"
"""The pattern of text that PostgreSQL's ``text`` can store: any Unicode but NUL
(https://www.postgresql.org/docs/current/datatype-character.html)."""
