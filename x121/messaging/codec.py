"""Message format of ``/ws``: JSON objects in text messages.

From the client::

    {"type": NAME, "id": anything, "data": anything}        id and data are optional

To the client, one for each of its messages, in the same order::

    {"type": "reply", "id": ..., "data": ...}               the handler's result
    {"type": "error", "id": ..., "error": TEXT, "code": CODE, "details": [...]}

and at any time::

    {"type": EVENT, "data": ...}                            the first is "welcome"

``id`` is that of the client's message, or null if it had none or could not be read; ``error``,
``code`` and ``details`` are those of an HTTP error (:mod:`x121.errors`).
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
    """Return the JSON object in ``payload``.

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
    """Return a reply with ``data``, which is encoded JSON."""
    return b'{"type":"reply","id":%b,"data":%b}' % (json_encoding.encode(message_id), data)
