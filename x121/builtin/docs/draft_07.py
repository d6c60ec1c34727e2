"""JSON Schemas as AsyncAPI has them.

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
    """Return a schema of 2020-12 as one of draft 07, as far as pydantic uses what differs."""
    if not isinstance(schema, dict):
        return schema  # true and false are schemas, too
    made: Schema = {}
    for keyword, value in schema.items():
        if keyword in _SCHEMA:
            made[keyword] = to_draft_07(value)
        elif keyword in _LIST:
            made[keyword] = [to_draft_07(one) for one in value]
        elif keyword in _MAP:
            made[keyword] = {name: to_draft_07(one) for name, one in value.items()}
        elif keyword == "discriminator":
            made[keyword] = value["propertyName"]  # AsyncAPI's own, a name
        else:
            made[keyword] = value
    if "prefixItems" in made:
        made["additionalItems"] = made.pop("items", True)
        made["items"] = made.pop("prefixItems")
    if "$ref" in made and len(made) > 1:  # what stands beside a reference isn't read
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return made


def named(schema: Schema) -> str:
    """Return the name of what a schema refers to, empty if it refers to nothing."""
    parts = schema.get("allOf", ())
    reference = schema.get("$ref") or (parts[0].get("$ref") if len(parts) == 1 else None)
    return str(reference or "").rpartition("/")[2]


def resolve(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """Return a schema with what it refers to, of ``schemas``, in its place."""
    name = named(schema)
    if not name:
        return schema
    beside = {keyword: one for keyword, one in schema.items() if keyword not in ("$ref", "allOf")}
    return {**resolve(schemas[name], schemas), **beside}
