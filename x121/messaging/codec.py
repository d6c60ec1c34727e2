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

from x121.core import json_decoding, json_encoding
from x121.errors import AppError, BadRequest

__all__ = [
    "decode",
    "encode_error",
    "encode_reply",
    "wrap_reply",
]


def decode(payload: bytes, *, max_values: int) -> dict[str, Any]:
    """Return the JSON object that ``payload`` is.

    Raises :class:`BadRequest` for anything else, and what :func:`x121.core.json_decoding.decode`
    raises.
    """
    value = json_decoding.decode(payload, "The message", max_values=max_values)
    if not isinstance(value, dict):
        raise BadRequest("The message is not a JSON object")
    return value


def encode_reply(message_id: Any, data: Any) -> bytes:
    """Return a reply.  Raises what :func:`x121.core.json_encoding.encode` raises."""
    return json_encoding.encode({"type": "reply", "id": message_id, "data": data})


def encode_error(message_id: Any, error: AppError) -> bytes:
    """Return an error in the contract's form."""
    return json_encoding.encode({"type": "error", "id": message_id, **error.body()})


def wrap_reply(message_id: Any, data: bytes) -> bytes:
    """Return a reply whose ``data`` is JSON already."""
    return b'{"type":"reply","id":%b,"data":%b}' % (json_encoding.encode(message_id), data)
