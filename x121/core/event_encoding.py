"""Events as the JSON that is sent: ``{"type": EVENT, "data": ...}``."""

from __future__ import annotations

from typing import Any

from x121.core import json_encoding

__all__ = ["check_event_name", "encode_event", "wrap_event"]


def check_event_name(name: str) -> None:
    """Raise :class:`ValueError` for a name that a client would take for an answer."""
    if name in ("reply", "error") or not isinstance(name, str):
        raise ValueError(f"an event's name is a text other than reply and error, not {name!r}")


def encode_event(name: str, data: Any) -> bytes:
    """Return an event.

    Raises what :func:`check_event_name` and :func:`x121.core.json_encoding.encode` raise.
    """
    check_event_name(name)
    return json_encoding.encode({"type": name, "data": data})


def wrap_event(name: str, data: bytes) -> bytes:
    """Return an event whose ``data`` is JSON already."""
    return b'{"type":%b,"data":%b}' % (json_encoding.encode(name), data)
