"""JSON, encoded in one way everywhere: answers, errors and log lines.

With the extra ``fast`` orjson does the work; without it, or for the few values that orjson
refuses (integers above 64 bits, keys that are no text), Python's own encoder gives the same
result.
"""

from __future__ import annotations

import enum
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

try:
    import orjson
except ImportError:  # the extra isn't installed
    orjson = None  # type: ignore[assignment]

__all__ = ["encode"]


def encode(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON.

    A ``datetime`` becomes RFC 3339 text, in UTC with ``Z``; ``UUID`` and ``Decimal`` become
    text; NaN and infinity, which JSON lacks, become null; a model becomes what its JSON Schema
    describes.  Raises :class:`TypeError` for
    anything else that JSON has no form for, and :class:`ValueError` for what holds itself.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value, _special, _ORJSON_OPTIONS)
        except TypeError:
            pass
    try:
        return _encode_with_json(value)
    except RecursionError:
        raise ValueError("a value that holds itself, or is nested too deeply") from None


def _special(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{value!r} has no time zone, so it names no moment")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, BaseModel):
        return _dump(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _dump(model: BaseModel) -> Any:
    """Return a model as its schema has it: in JSON's types, and by the names outside."""
    try:
        return model.model_dump(mode="json", by_alias=True, warnings=False)
    except PydanticSerializationError:
        # Its text may show a value.
        raise TypeError(f"a {type(model).__name__} holds what has no form in JSON") from None


if orjson is not None:
    _ORJSON_OPTIONS = (
        orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_SUBCLASS
    )


def _encode_with_json(value: Any) -> bytes:
    options: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
    try:
        text = json.dumps(value, default=_special, allow_nan=False, **options)
    except ValueError:
        text = json.dumps(_finite(value), default=_special, allow_nan=False, **options)
    # A lone surrogate has no UTF-8 form; JSON's own escape for it is what is left.
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    """Return ``value`` with null for every float that JSON can't write."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, BaseModel):
        value = _dump(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
