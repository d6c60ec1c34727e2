"""Encodes events as JSON messages: ``{"type": EVENT, "data": ...}``."""

from __future__ import annotations

from typing import Any

from x121.core import json_encoding

__all__ = ["check_event_name", "encode_event", "wrap_event"]


def check_event_name(name: str) -> None:
    """Raise :class:`ValueError` for a name that a client would take for a reply."""
    if name in ("reply", "error") or not isinstance(name, str):
        raise ValueError(f"invalid event name: {name!r} (expected text other than reply and error)")


def encode_event(name: str, data: Any) -> bytes:
    """Return an event as JSON.

    Raises the errors of :func:`check_event_name` and :func:`x121.core.json_encoding.encode`.
    """
    check_event_name(name)
    return json_encoding.encode({"type": name, "data": data})


def wrap_event(name: str, data: bytes) -> bytes:
    """Return an event as JSON, from ``data`` that is already JSON."""
    return b'{"type":%b,"data":%b}' % (json_encoding.encode(name), data)
