"""The API as an OpenAPI 3.1 document, made from the declarations that also serve it.

See https://spec.openapis.org/oas/v3.1.1.html.  Nothing in it is in an order that could be another
one the next time, so the same endpoints give the same bytes.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from x121.builtin.docs.markdown import as_markdown, as_text
from x121.builtin.docs.paths import Documented, documented, schema_of_converter
from x121.builtin.docs.responses import (
    Responses,
    error_kinds,
    json_content,
    unique,
    uses_of_errors,
)
from x121.builtin.docs.schemas import Schema, Schemas, Use
from x121.web.etags import TAGS_SCHEMA, versions_argument
from x121.web.operations import MISSING, Parameter
from x121.web.router import Router

__all__ = ["make_openapi"]

# Of GET, which takes a field that is no list of tags for one that lists none.
_CONDITIONS = {
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "The version that the client asks for; 412 if it is another now",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The version that the client has: then 304 without a body",
        "schema": {"type": "string"},
    },
}
_EXCLUDED_VERSIONS = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The versions that the client doesn't agree to change; 412 if it is one of them",
    "schema": TAGS_SCHEMA,
}


def make_openapi(
    router: Router, *, title: str, version: str, description: str = ""
) -> dict[str, Any]:
    """Return the document of all endpoints that ``router`` has now.

    ``version`` is the API's.  A feature's class is a tag: its name, unless it has an attribute
    ``tag``, and its docstring.  Raises :class:`TypeError` for a type that has no JSON Schema.
    """
    endpoints = list(documented(router))
    schemas = Schemas(use for one in endpoints for use in _uses(one))
    responses = Responses(schemas)
    paths: dict[str, Any] = {}
    ids: set[str] = set()
    for one in endpoints:
        made = _operation(one, schemas, responses, ids)
        # Of two endpoints for the same, werkzeug calls the one that was defined first.
        paths.setdefault(one.path, {}).setdefault(one.method, made)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": title,
            **({"description": description} if description else {}),
            "version": version,
        },
        "tags": _tags(endpoints),
        "paths": paths,
        "components": _components(endpoints, schemas, responses),
    }


def _components(
    endpoints: list[Documented], schemas: Schemas, responses: Responses
) -> dict[str, Any]:
    components = {
        "schemas": dict(sorted(schemas.components.items())),
        "responses": dict(sorted(responses.components.items())),
        "headers": responses.headers,
    }
    if any(_has_versions(one) for one in endpoints):
        components["parameters"] = _CONDITIONS
    return components


def _uses(one: Documented) -> Iterator[Use]:
    """Yield the types that an endpoint's documentation is made of."""
    operation = one.operation
    where = one.name if one.owner is None else f"{type(one.owner).__qualname__}.{one.name}"
    for parameter in operation.parameters:
        yield Use(f"{where}: {parameter.argument}", parameter.type, "validation")
    if operation.body is not None:
        yield Use(f"{where}: {operation.body.argument}", operation.body.type, "validation")
    if operation.result is not None and operation.result is not MISSING:
        yield Use(f"{where}: its result", operation.result, "serialization")
    for kinds in error_kinds(operation, one.method, bool(one.converters)):
        yield from uses_of_errors(kinds)


# --- features -----------------------------------------------------------------------------


def _tags(endpoints: list[Documented]) -> list[dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for one in endpoints:
        if one.owner is not None:
            text = as_markdown(inspect.getdoc(type(one.owner)) or "")
            tag = {"name": _tag(one.owner), **({"description": text} if text else {})}
            tags.setdefault(tag["name"], tag)
    return list(tags.values())


def _tag(owner: object) -> str:
    return getattr(owner, "tag", None) or type(owner).__name__


def _id(one: Documented, taken: set[str]) -> str:
    """Return an id such as ``projects_show``, by which generated clients name their functions."""
    words = [] if one.owner is None else [type(one.owner).__name__]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join([*words, one.name])).lower()
    name = re.sub(r"\W", "_", name)
    if name in taken:
        name = f"{name}_{one.method}"
    name = unique(name, taken)
    taken.add(name)
    return name


# --- operations ---------------------------------------------------------------------------


def _operation(
    one: Documented, schemas: Schemas, responses: Responses, ids: set[str]
) -> dict[str, Any]:
    operation = one.operation
    summary, description = as_text(operation.summary), as_markdown(operation.description)
    parameters = [*_in_path(one, schemas), *_elsewhere(one, schemas)]
    made: dict[str, Any] = {
        "tags": [] if one.owner is None else [_tag(one.owner)],
        "summary": summary,
        "description": description,
        "operationId": _id(one, ids),
        "parameters": parameters,
        "deprecated": operation.deprecated,
    }
    made = {name: value for name, value in made.items() if value}
    if operation.body is not None:
        content = json_content(schemas.of(operation.body.type, "validation"))
        made["requestBody"] = {"required": operation.body.is_required, "content": content}
    kinds = error_kinds(operation, one.method, bool(one.converters))
    made["responses"] = responses.of(operation, is_get=one.method == "get", kinds=kinds)
    return made


def _has_versions(one: Documented) -> bool:
    return one.operation.etag and one.method == "get"


def _in_path(one: Documented, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters in the path, each narrowed by its converter and by its own type."""
    own = {p.name: schemas.of(p.type, "validation") for p in one.operation.parameters}
    for name, converter in one.converters.items():
        schema = schema_of_converter(converter)
        known = own.get(name, {})
        if known.get("type", schema["type"]) == schema["type"] and "$ref" not in known:
            known = {**schema, **known}
        yield _parameter(name, "path", known, is_required=True)


def _elsewhere(one: Documented, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters in the query and in headers."""
    for parameter in one.operation.parameters:
        if parameter.place != "path":
            schema = schemas.of(parameter.type, "validation")
            schema |= _default(parameter)
            is_required = parameter.default is MISSING
            yield _parameter(parameter.name, parameter.place, schema, is_required=is_required)
    if _has_versions(one):
        for name in _CONDITIONS:
            yield {"$ref": f"#/components/parameters/{name}"}
    if versions_argument(one.operation) is not None:
        yield _EXCLUDED_VERSIONS


def _parameter(name: str, place: str, schema: Schema, *, is_required: bool) -> dict[str, Any]:
    description = schema.pop("description", "") if "$ref" not in schema else ""
    return {
        "name": name,
        "in": place,
        **({"description": description} if description else {}),
        **({"required": True} if is_required else {}),
        "schema": schema,
    }


def _default(parameter: Parameter) -> Schema:
    """Return a default that a client could send: None, or an object of ours, it could not."""
    if parameter.default is None or parameter.default is MISSING:
        return {}
    try:
        json.dumps(parameter.default)
    except TypeError:
        return {}
    return {"default": parameter.default}
