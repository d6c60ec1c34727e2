"""Conversion of JSON Schemas to draft 07, for AsyncAPI.

Pydantic writes JSON Schema 2020-12; AsyncAPI's Schema Object is a superset of draft 07
(https://www.asyncapi.com/docs/reference/specification/v3.0.0#schemaObject).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from x121.builtin.docs.schemas import Schema

__all__ = ["named", "resolve", "to_draft_07"]

_SCHEMA = (
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
)
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP = ("patternProperties", "properties")


def to_draft_07(schema: Any) -> Any:
    """Return a 2020-12 schema in draft 07, for those differences that pydantic's schemas have."""
    if not isinstance(schema, dict):
        return schema  # true and false are schemas, too
    converted: Schema = {}
    for keyword, value in schema.items():
        if keyword in _SCHEMA:
            converted[keyword] = to_draft_07(value)
        elif keyword in _LIST:
            converted[keyword] = [to_draft_07(item) for item in value]
        elif keyword in _MAP:
            converted[keyword] = {name: to_draft_07(item) for name, item in value.items()}
        elif keyword == "discriminator":
            converted[keyword] = value["propertyName"]  # AsyncAPI's own keyword, a name
        else:
            converted[keyword] = value
    if "prefixItems" in converted:
        converted["additionalItems"] = converted.pop("items", True)
        converted["items"] = converted.pop("prefixItems")
    if "$ref" in converted and len(converted) > 1:  # draft 07 ignores keywords beside $ref
        converted["allOf"] = [{"$ref": converted.pop("$ref")}]
    return converted


def named(schema: Schema) -> str:
    """Return the name of the schema that a schema refers to, empty without a reference."""
    parts = schema.get("allOf", ())
    reference = schema.get("$ref") or (parts[0].get("$ref") if len(parts) == 1 else None)
    return str(reference or "").rpartition("/")[2]


def resolve(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """Return a schema with its reference replaced by the schema from ``schemas``."""
    name = named(schema)
    if not name:
        return schema
    beside = {
        keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "allOf")
    }
    return {**resolve(schemas[name], schemas), **beside}
