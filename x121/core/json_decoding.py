"""Decodes JSON from clients (request bodies, WebSocket messages) at a bounded cost.

JSON follows RFC 8259, which has neither NaN nor infinite numbers.  Within the limits, decoding,
validating and reporting the errors take little more than 10 ms for any input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

from x121.errors import BadRequest, PayloadTooLarge

try:
    import orjson
except ImportError:  # the extra isn't installed
    orjson = None  # type: ignore[assignment]

__all__ = ["JsonLimits", "decode"]

_MAX_LEVELS = 200
_MAX_DIGITS = 400  # a double written out has up to 309 before its point
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * len(str(1 << 63))


@dataclass(frozen=True)
class JsonLimits:
    """The limits of a JSON body: its size, and the number of values in it."""

    max_json_bytes: int
    max_json_values: int


class _Unfit(ValueError):
    """JSON that other programs could not read, or that takes too long to read."""


def decode(payload: bytes, what: str, *, max_values: int) -> Any:
    """Return the value of ``payload``, which is JSON in UTF-8.  ``what`` names it in errors.

    Raises :class:`PayloadTooLarge` for more than ``max_values`` values; an empty list or object
    counts as two.  Raises :class:`BadRequest` for invalid JSON, and for JSON that other programs
    could not read: more than 200 levels of lists and objects, numbers of more than 400 digits or
    beyond a double's range, and text that isn't Unicode.
    """
    if len(payload) >= max_values and _has_more_values(payload, max_values):
        raise PayloadTooLarge(f"{what} has more than {max_values} values (MAX_JSON_VALUES)")
    try:
        value = _parse(payload)
        if payload.count(b"[") + payload.count(b"{") > _MAX_LEVELS:
            _check_depth(value)
    except RecursionError:
        raise BadRequest(f"{what} is nested deeper than {_MAX_LEVELS} levels") from None
    except _Unfit as error:
        raise BadRequest(f"{what} {error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{what} is not JSON: {error}") from None
    return value


def _has_more_values(payload: bytes, most: int) -> bool:
    """Return True if ``payload`` has more than ``most`` values, without decoding it.

    Each value follows a comma, or is the first in its list or object, or is the whole payload.
    """
    if _count(payload) <= most:
        return False  # even if commas and brackets inside strings are counted
    text = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 4 * most:
        return True  # a value has at most two strings: its name and itself
    return _count(b"".join(text.split(b'"')[::2])) > most


def _count(text: bytes) -> int:
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def _parse(payload: bytes) -> Any:
    """Return the value of ``payload``.

    orjson takes a fraction of the time, and has the same results, except for integers above 64
    bits, which it turns into floats.  Python's decoder accepts, or reports the error in, payloads
    that orjson rejects.
    """
    if orjson is not None and _LONG_NUMBER not in payload.translate(_DIGITS):
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            pass
    value = _DECODER.decode(payload.decode())
    if b"\\u" in payload:
        _check_unicode(value)
    return value


def _check_depth(value: Any) -> None:
    level: Iterable[Any] = [value]
    for _ in range(_MAX_LEVELS + 1):
        parts = [part for part in level if type(part) is list or type(part) is dict]
        if not parts:
            return
        level = chain.from_iterable(part.values() if type(part) is dict else part for part in parts)
    raise RecursionError


def _check_unicode(value: Any) -> None:
    """Reject half a surrogate pair, which JSON can contain (RFC 8259 section 8.2)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Unfit("has text that is not Unicode") from None


# --- numbers (RFC 8259 section 6) ---------------------------------------------------------


def _refuse(constant: str) -> NoReturn:
    raise _Unfit(f"is not JSON: {constant} is not a JSON value")


def _integer(digits: str) -> int:
    _check_length(digits)
    return int(digits)


def _finite(digits: str) -> float:
    """Return a number; reject an infinite one, which could not be sent back as JSON."""
    _check_length(digits)
    number = float(digits)
    if math.isinf(number):
        raise _Unfit(f"has a number that is too large: {digits[:20]}")
    return number


def _check_length(digits: str) -> None:
    if len(digits) > _MAX_DIGITS:  # Python's time grows with the square of their number
        raise _Unfit(f"has a number of more than {_MAX_DIGITS} digits")


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_integer, parse_float=_finite)
