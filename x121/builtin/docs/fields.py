"""Schemas in words: the fields of an object, their types and constraints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from x121.builtin.docs.draft_07 import named, resolve
from x121.builtin.docs.schemas import Schema
from x121.core.types import NO_NUL

__all__ = ["Field", "Part", "fields_of", "rules_of", "words_of"]

# Bounds of numbers and lengths: the text before the value, and the text after it.
_BOUNDS = {
    "minimum": ("\u2265 ", ""),
    "exclusiveMinimum": ("> ", ""),
    "maximum": ("\u2264 ", ""),
    "exclusiveMaximum": ("< ", ""),
    "multipleOf": ("a multiple of ", ""),
    "minLength": ("at least ", " characters"),
    "maxLength": ("at most ", " characters"),
    "minItems": ("at least ", " items"),
    "maxItems": ("at most ", " items"),
    "pattern": ("like ", ""),
}
_RANGES = {
    ("minLength", "maxLength"): " characters",
    ("minItems", "maxItems"): " items",
    ("minimum", "maximum"): "",
}


@dataclass(frozen=True)
class Part:
    """A part of a type in words; if ``is_name``, it is the name of a schema."""

    text: str
    is_name: bool = False


@dataclass(frozen=True)
class Field:
    """A field; ``path`` is its name, or its place, as in ``items[].name``."""

    path: str
    type: tuple[Part, ...]
    is_required: bool
    rules: tuple[str, ...]
    description: str


def fields_of(schema: Any, schemas: Mapping[str, Schema], path: str = "") -> Iterator[Field]:
    """Yield the fields of an object.  Named schemas inside are not expanded."""
    if not isinstance(schema, dict):
        return
    resolved = resolve(schema, schemas)
    required = resolved.get("required", ())
    for name, member in resolved.get("properties", {}).items():
        yield from _field(f"{path}.{name}" if path else name, member, schemas, name in required)


def _field(
    path: str, schema: Any, schemas: Mapping[str, Schema], is_required: bool
) -> Iterator[Field]:
    about = schema if isinstance(schema, dict) else {}
    description = about.get("description", "")
    yield Field(path, tuple(words_of(schema)), is_required, tuple(rules_of(about)), description)
    if about.get("type") == "array":
        path, about = f"{path}[]", about.get("items", {})
    if isinstance(about, dict) and not named(about):
        yield from fields_of(about, schemas, path)


def words_of(schema: Any) -> Iterator[Part]:
    """Yield the type of a schema in words, such as *list of* and a name."""
    if not isinstance(schema, dict):
        yield Part("anything" if schema else "nothing")
    elif named(schema):
        yield Part(named(schema), is_name=True)
    elif "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        yield Part(" or ".join(_literal(value) for value in values))
    elif "anyOf" in schema or "oneOf" in schema:
        yield from _joined(schema.get("anyOf") or schema["oneOf"], " or ")
    elif schema.get("type") == "array":
        yield from _array(schema)
    elif isinstance(schema.get("additionalProperties"), dict):
        yield Part("object of ")
        yield from words_of(schema["additionalProperties"])
    else:
        form = schema.get("format", "")
        yield Part(" ".join(filter(None, (schema.get("type", "anything"), form))))


def _array(schema: Schema) -> Iterator[Part]:
    items = schema.get("items", True)
    if isinstance(items, list):
        yield Part("[")
        yield from _joined(items, ", ")
        yield Part("]")
    else:
        yield Part("set of " if schema.get("uniqueItems") else "list of ")
        yield from words_of(items)


def _joined(schemas: list[Any], between: str) -> Iterator[Part]:
    for number, schema in enumerate(schemas):
        if number:
            yield Part(between)
        yield from words_of(schema)


def rules_of(schema: Schema) -> Iterator[str]:
    """Yield in words the constraints of a value besides its type, and its default."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        schema = {**options[0], **schema}
    left = dict(schema)
    if isinstance(schema.get("items"), list):  # a tuple: its type has the number of items
        left = {key: value for key, value in schema.items() if not key.endswith("Items")}
    for (low, high), unit in _RANGES.items():
        if low in left and high in left:
            least, most = left.pop(low), left.pop(high)
            yield f"{least} to {most}{unit}" if least != most else f"exactly {most}{unit}"
    for keyword, (before, after) in _BOUNDS.items():
        if keyword in left:
            yield _bound(keyword, left[keyword], before, after)
    items = schema.get("items")
    if isinstance(items, dict):
        yield from (f"each {rule}" for rule in rules_of(items))
    if schema.get("default") is not None:
        yield f"{_literal(schema['default'])} if left out"


def _bound(keyword: str, value: Any, before: str, after: str) -> str:
    if value == NO_NUL:
        return "no NUL character"
    text = str(value) if keyword != "pattern" else f"`{value}`"
    return f"{before}{text}{after.removesuffix('s') if value == 1 else after}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
