"""What is said on ``/ws``: JSON objects in text messages, one of these.

From the client::

    {"type": NAME, "id": anything, "data": anything}        id and data may be left out

To the client, one for every message that came, in their order::

    {"type": "reply", "id": ..., "data": ...}               what the handler returned
    {"type": "error", "id": ..., "error": TEXT, "code": CODE, "details": [...]}

and unasked::

    {"type": EVENT, "data": ...}                            the first is "welcome"

``id`` is the message's own, or null where it had none or could not be read; ``error``, ``code`` and
``details`` are those of an HTTP error (:mod:`x121.errors`).
"""

from __future__ import annotations

from typing import Any

from x121 import json_decoding, jsons
from x121.errors import AppError, BadRequest

__all__ = [
    "check_event_name",
    "decode",
    "encode_error",
    "encode_event",
    "encode_reply",
    "wrap_event",
    "wrap_reply",
]


def decode(payload: bytes, *, max_values: int) -> dict[str, Any]:
    """Return the JSON object that ``payload`` is.

    Raises :class:`BadRequest` for anything else, and what :func:`x121.json_decoding.decode` raises.
    """
    value = json_decoding.decode(payload, "The message", max_values=max_values)
    if not isinstance(value, dict):
        raise BadRequest("The message is not a JSON object")
    return value


def encode_reply(message_id: Any, data: Any) -> bytes:
    """Return a reply.  Raises what :func:`x121.jsons.encode` raises."""
    return jsons.encode({"type": "reply", "id": message_id, "data": data})


def encode_error(message_id: Any, error: AppError) -> bytes:
    """Return an error in the contract's form."""
    return jsons.encode({"type": "error", "id": message_id, **error.body()})


def encode_event(name: str, data: Any) -> bytes:
    """Return an event.

    Raises what :func:`check_event_name` and :func:`x121.jsons.encode` raise.
    """
    check_event_name(name)
    return jsons.encode({"type": name, "data": data})


def wrap_reply(message_id: Any, data: bytes) -> bytes:
    """Return a reply whose ``data`` is JSON already."""
    return b'{"type":"reply","id":%b,"data":%b}' % (jsons.encode(message_id), data)


def wrap_event(name: str, data: bytes) -> bytes:
    """Return an event whose ``data`` is JSON already."""
    return b'{"type":%b,"data":%b}' % (jsons.encode(name), data)


def check_event_name(name: str) -> None:
    """Raise :class:`ValueError` for a name that a client would take for an answer."""
    if name in ("reply", "error") or not isinstance(name, str):
        raise ValueError(f"an event's name is a text other than reply and error, not {name!r}")
