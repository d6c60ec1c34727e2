"""Examples of values, generated from JSON Schemas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from x121.builtin.docs.draft_07 import named, resolve
from x121.builtin.docs.schemas import Schema

__all__ = ["make_example"]

_TEXTS = {
    "binary": "text",
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "duration": "PT1H",
    "email": "somebody@example.com",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "time": "03:04:05Z",
    "uri": "https://example.com/",
    "uuid": "0b9d7d8c-6c0b-4f5d-9a43-2f6f6f0f8f3e",
}


def make_example(schema: Any, schemas: Mapping[str, Schema], inside: tuple[str, ...] = ()) -> Any:
    """Return a small value that matches ``schema``, except that patterns are ignored.

    Raises :class:`ValueError` for a schema that allows anything or nothing, or contains itself
    endlessly.  ``inside`` are the names of the schemas around it.
    """
    if not isinstance(schema, dict):
        raise ValueError("no example: the schema allows anything, or nothing")
    name = named(schema)
    if name:
        if name in inside:
            raise ValueError(f"no example: {name} contains itself")
        return make_example(resolve(schema, schemas), schemas, (*inside, name))
    if "const" in schema:
        return schema["const"]
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    if schema.get("default") is not None:
        return schema["default"]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return next(_examples(schema[keyword], schemas, inside))
    return _of_type(schema, schemas, inside)


def _examples(
    options: list[Schema], schemas: Mapping[str, Schema], inside: tuple[str, ...]
) -> Iterator[Any]:
    """Yield an example of every option that has one."""
    for option in options:
        try:
            yield make_example(option, schemas, inside)
        except ValueError:
            continue
    raise ValueError("no example: no option of anyOf or oneOf has one")


def _of_type(schema: Schema, schemas: Mapping[str, Schema], inside: tuple[str, ...]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, schemas, inside)
    if kind == "array":
        return _array(schema, schemas, inside)
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema)
    if kind in ("boolean", "null"):
        return True if kind == "boolean" else None
    raise ValueError("no example: the schema allows anything")


def _object(schema: Schema, schemas: Mapping[str, Schema], inside: tuple[str, ...]) -> Any:
    value = {}
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        try:
            value[name] = make_example(member, schemas, inside)
        except ValueError:
            if name in required:
                raise
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict) and not value:
        value["key"] = make_example(rest, schemas, inside)
    return value


def _array(schema: Schema, schemas: Mapping[str, Schema], inside: tuple[str, ...]) -> Any:
    items = schema.get("items", {})
    if isinstance(items, list):
        return [make_example(item, schemas, inside) for item in items]
    least = schema.get("minItems", 0)
    try:
        return [make_example(items, schemas, inside)] * max(1, least)
    except ValueError:
        if least:
            raise
        return []


def _text(schema: Schema) -> str:
    text = _TEXTS.get(schema.get("format", ""), "text")
    least: int = schema.get("minLength", 0)
    return text.ljust(least, "t")[: schema.get("maxLength")]


def _number(schema: Schema) -> int | float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + step)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - step)
    number: int | float = min(max(1, low), high)
    return -(-number // step) * step if "multipleOf" in schema else number
