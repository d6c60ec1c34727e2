"""Adapters for types that psycopg2 doesn't send by itself: UUID, dict, Enum, IP addresses."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Any

from psycopg2 import extensions
from psycopg2.extras import Json, register_uuid

from x121.core.json_encoding import encode

__all__ = ["register_adapters"]

_SENT_AS_TEXT = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)


def register_adapters() -> None:
    """Register the adapters with psycopg2, for the whole process; may be called more than once.

    psycopg2 reads a ``uuid`` column as UUID, and a ``json`` or ``jsonb`` column as Python values,
    by itself. It sends a list as an array.
    """
    register_uuid()
    extensions.register_adapter(dict, _adapt_dict)
    extensions.register_adapter(Enum, _adapt_enum)  # also enums derived from str or int
    for kind in _SENT_AS_TEXT:
        extensions.register_adapter(kind, _adapt_as_text)


def _adapt_dict(value: dict[Any, Any]) -> Json:
    return Json(value, dumps=_dump)


def _dump(value: Any) -> str:
    return encode(value).decode()


def _adapt_enum(value: Enum) -> Any:
    return extensions.adapt(value.value)


def _adapt_as_text(value: object) -> Any:
    return extensions.adapt(str(value))
