"""Small types that every room may use."""

from __future__ import annotations

import ipaddress
from typing import NewType, TypeAlias

__all__ = ["DbId", "IpNetwork"]

DbId = NewType("DbId", int)
"""The primary key of a row: a PostgreSQL ``BIGINT`` identity."""

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
"""A range of addresses, such as 10.0.0.0/8."""
