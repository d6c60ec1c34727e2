"""Conversion of values that are text in a request: in the path, the query and headers.

Each type has one form, which its JSON Schema describes, too:

- int: ``-?`` and up to 40 digits;
- float and Decimal: JSON's numbers (RFC 8259 section 6), finite, with up to 40 digits before the
  point and after it;
- bool: ``true`` or ``false``;
- UUID: ``8-4-4-4-12`` hexadecimal digits (RFC 9562 section 4);
- date, time and datetime: those of RFC 3339; seconds and the offset are optional;
- timedelta: ``P1DT2H`` (ISO 8601);
- Literal and Enum: one of their values, in the form of its type.

pydantic alone would also accept ``1_0``, ``1.0`` and ``+5`` as integers, ``on`` and ``t`` as
booleans and numbers as dates, and never a number for a ``Literal`` or an ``Enum``.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError, SchemaValidator

__all__ = ["list_elements", "text_validator"]

_Convert = Callable[[str], Any]

_NUMBER = r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"

_ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*"?|[^",]+)+')

# Parts of a schema that contain no schemas, but arbitrary values.
_NO_SCHEMAS = frozenset(("cls", "default", "expected", "members", "metadata", "serialization"))


def text_validator(adapter: TypeAdapter[Any]) -> Callable[[Any], Any]:
    """Return a function that validates like ``adapter``, but reads text in the forms above."""
    return SchemaValidator(_read_text(adapter.core_schema)).validate_python


def list_elements(text: str) -> list[str]:
    """Return the elements of a header that is a list (RFC 9110 section 5.6.1).

    A comma in a quoted string isn't a separator, and empty elements are left out.
    """
    elements = (element.strip(" \t") for element in _ELEMENT.findall(text))
    return [element for element in elements if element]


def _read_text(schema: Any) -> Any:
    """Return a schema of pydantic's that first converts text, in all of its parts."""
    if isinstance(schema, list):
        return [_read_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {k: part if k in _NO_SCHEMAS else _read_text(part) for k, part in schema.items()}
    kind = schema.get("type")
    if kind == "literal":
        return _converted(schema, _choice(schema["expected"]))
    if kind == "enum":
        return _converted(schema, _choice(schema["members"], schema["cls"]))
    if isinstance(kind, str) and kind in _CONVERTERS:
        return _converted(schema, _CONVERTERS[kind])
    return schema


def _converted(schema: dict[str, Any], convert: _Convert) -> dict[str, Any]:
    def convert_text(value: Any) -> Any:
        return convert(value) if isinstance(value, str) else value

    before = {"type": "no-info", "function": convert_text}
    # Other parts refer to the schema by this name; it has to be that of the converted schema.
    ref = {"ref": schema.pop("ref")} if "ref" in schema else {}
    return {"type": "function-before", "function": before, "schema": schema, **ref}


# --- one form for each type ---------------------------------------------------------------


def _choice(values: Iterable[Any], make: Callable[[str], Any] | None = None) -> _Convert:
    """Return a function that returns the value for a text.

    ``make`` is the ``Enum`` of the values; it may accept others (``_missing_``).
    """
    texts: dict[str, Any] = {}
    for value in values:
        if value is not None:  # None has no text: it is left out
            texts.setdefault(_text_of(value), value)
    choices = ", ".join(texts)

    def find(text: str) -> Any:
        if text in texts:
            return texts[text]
        try:
            if make is not None:
                return make(text)
        except ValueError:
            pass
        raise PydanticCustomError("choice", "This is not one of {choices}", {"choices": choices})

    return find


def _text_of(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _form(pattern: str, convert: _Convert, message: str) -> _Convert:
    """Return a function that converts text which matches ``pattern``."""
    matches = re.compile(pattern).fullmatch

    def read(text: str) -> Any:
        try:
            if matches(text):
                return convert(text)
        except (ValueError, OverflowError):
            pass  # such as February 30
        raise PydanticCustomError("text_form", "{message}", {"message": message})

    return read


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number


_duration: Callable[[str], timedelta] = TypeAdapter(timedelta).validator.validate_python

_CONVERTERS: dict[str, _Convert] = {
    "int": _form("-?[0-9]{1,40}", int, "This is not an integer such as 20"),
    "float": _form(_NUMBER, _finite, "This is not a number such as 2.5"),
    "decimal": _form(_NUMBER, Decimal, "This is not a number such as 2.5"),
    "bool": _form("true|false", "true".__eq__, "This is neither true nor false"),
    "uuid": _form(
        "(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        UUID,
        "This is not a UUID such as 0190d1a4-1b7e-7c3a-9f52-6a1d0c8e4b21",
    ),
    "date": _form(_DATE, date.fromisoformat, "This is not a date such as 2026-01-02"),
    "time": _form(
        _TIME, lambda text: time.fromisoformat(text.upper()), "This is not a time such as 03:04:05"
    ),
    "datetime": _form(
        f"{_DATE}[Tt]{_TIME}",
        lambda text: datetime.fromisoformat(text.upper()),
        "This is not a time such as 2026-01-02T03:04:05Z",
    ),
    "timedelta": _form("-?P[0-9A-Z.]{1,50}", _duration, "This is not a duration such as P1DT2H"),
}
