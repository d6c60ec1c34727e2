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

import json
import math
from typing import Any, NoReturn

from x121 import jsons
from x121.errors import AppError, BadRequest

try:
    import orjson
except ImportError:  # the extra isn't installed
    orjson = None  # type: ignore[assignment]

__all__ = [
    "check_event_name",
    "decode",
    "encode_error",
    "encode_event",
    "encode_reply",
    "wrap_event",
    "wrap_reply",
]

_MOST_LEVELS = 200
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * len(str(1 << 63))
_TOO_DEEP = f"The message is nested deeper than {_MOST_LEVELS} levels"


def decode(payload: bytes) -> dict[str, Any]:
    """Return the JSON object that ``payload`` is, which is UTF-8.

    Raises :class:`BadRequest` for anything else, for what JSON lacks, such as NaN, and for
    more than 200 levels of lists and objects and for text that isn't Unicode, neither of which
    others could read if it were sent on.
    """
    value = _parse(payload)
    if not isinstance(value, dict):
        raise BadRequest("The message is not a JSON object")
    if _may_be_deep(payload) and _is_deep(value):
        raise BadRequest(_TOO_DEEP)
    if b"\\u" in payload:
        _check_unicode(value)
    return value


def _parse(payload: bytes) -> Any:
    """Return the JSON value that ``payload`` is.

    orjson takes a fraction of the time, and reads what it reads alike, but for integers above 64
    bits, of which it makes floats.  What it refuses Python's decoder may not, or says why.
    """
    if orjson is not None and _LONG_NUMBER not in payload.translate(_DIGITS):
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            pass
    try:
        return _DECODER.decode(payload.decode())
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The message is not JSON: {error}") from None
    except ValueError:
        raise BadRequest("The message has a number of too many digits") from None


def _check_unicode(value: Any) -> None:
    """Refuse half a surrogate pair, which JSON can spell (RFC 8259 section 8.2)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("The message has text that is not Unicode") from None


def _may_be_deep(payload: bytes) -> bool:
    """Return False if ``payload`` surely has few levels: faster than to look at each value."""
    if len(payload) <= _MOST_LEVELS:
        return False
    if payload.count(b"[") + payload.count(b"{") <= _MOST_LEVELS:
        return False
    brackets = payload.translate(_SQUARE, _NO_BRACKETS)
    for _ in range(_MOST_LEVELS):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _is_deep(value: Any) -> bool:
    """Return whether ``value`` has too many levels."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        inner = [part.values() if isinstance(part, dict) else part for part in level]
        level = [part for parts in inner for part in parts if isinstance(part, (dict, list))]
        if not level:
            return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise BadRequest(f"The message is not JSON: {constant} is not a value of it")


def _finite(digits: str) -> float:
    """Return a number, which could not be sent back if it were infinite."""
    number = float(digits)
    if math.isinf(number):
        raise BadRequest(f"The message has a number that is too large: {digits[:20]}")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


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
