"""Encodes JSON for responses, errors and log lines, always in the same way.

With the extra ``fast`` orjson does the work.  Without it, and for the few values that orjson
rejects (integers above 64 bits, keys that aren't text), Python's encoder gives the same result.
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
    describes.  Raises :class:`TypeError` for any other type that JSON doesn't have, and
    :class:`ValueError` for a value that contains itself.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value, _special, _ORJSON_OPTIONS)
        except TypeError:
            pass
    try:
        return _encode_with_json(value)
    except RecursionError:
        raise ValueError("cannot encode a value that contains itself or is too deep") from None


def _special(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"cannot encode {value!r} as JSON: it has no time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, BaseModel):
        return _dump(value)
    raise TypeError(f"cannot encode a {type(value).__name__} as JSON")


def _dump(model: BaseModel) -> Any:
    """Return a model as its JSON Schema describes it: in JSON's types, with aliases as names."""
    try:
        return model.model_dump(mode="json", by_alias=True, warnings=False)
    except PydanticSerializationError:
        # Its text may contain a value.
        raise TypeError(f"cannot encode a part of a {type(model).__name__} as JSON") from None


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
    # A lone surrogate has no UTF-8 form, only a JSON escape.
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
