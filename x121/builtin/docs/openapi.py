"""OpenAPI 3.1 document of the API, generated from the declarations that also serve it.

See https://spec.openapis.org/oas/v3.1.1.html.  Its order is deterministic, so the same endpoints
give the same bytes.
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

# Headers of GET, which treats an invalid list of tags as an empty one.
_CONDITIONS = {
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "Return only this version; 412 if the current version is another",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The version that you have; 304 without a body if it is current",
        "schema": {"type": "string"},
    },
}
_EXCLUDED_VERSIONS = {
    "name": "If-None-Match",
    "in": "header",
    "description": "Don't change these versions; 412 if the current version is one of them",
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
    schemas = Schemas(use for endpoint in endpoints for use in _uses(endpoint))
    responses = Responses(schemas)
    paths: dict[str, Any] = {}
    ids: set[str] = set()
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas, responses, ids)
        # Of two endpoints with the same path and method, werkzeug calls the first.
        paths.setdefault(endpoint.path, {}).setdefault(endpoint.method, operation)
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
    if any(_has_versions(endpoint) for endpoint in endpoints):
        components["parameters"] = _CONDITIONS
    return components


def _uses(endpoint: Documented) -> Iterator[Use]:
    """Yield the types in an endpoint's documentation."""
    operation, owner = endpoint.operation, endpoint.owner
    where = endpoint.name if owner is None else f"{type(owner).__qualname__}.{endpoint.name}"
    for parameter in operation.parameters:
        yield Use(f"{where}: {parameter.argument}", parameter.type, "validation")
    if operation.body is not None:
        yield Use(f"{where}: {operation.body.argument}", operation.body.type, "validation")
    if operation.result is not None and operation.result is not MISSING:
        yield Use(f"{where}: its result", operation.result, "serialization")
    for kinds in error_kinds(operation, endpoint.method, bool(endpoint.converters)):
        yield from uses_of_errors(kinds)


# --- features -----------------------------------------------------------------------------


def _tags(endpoints: list[Documented]) -> list[dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for endpoint in endpoints:
        if endpoint.owner is not None:
            text = as_markdown(inspect.getdoc(type(endpoint.owner)) or "")
            tag = {"name": _tag(endpoint.owner), **({"description": text} if text else {})}
            tags.setdefault(tag["name"], tag)
    return list(tags.values())


def _tag(owner: object) -> str:
    return getattr(owner, "tag", None) or type(owner).__name__


def _id(endpoint: Documented, taken: set[str]) -> str:
    """Return an id such as ``projects_show``, which generated clients use as a function's name."""
    words = [] if endpoint.owner is None else [type(endpoint.owner).__name__]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join([*words, endpoint.name])).lower()
    name = re.sub(r"\W", "_", name)
    if name in taken:
        name = f"{name}_{endpoint.method}"
    name = unique(name, taken)
    taken.add(name)
    return name


# --- operations ---------------------------------------------------------------------------


def _operation(
    endpoint: Documented, schemas: Schemas, responses: Responses, ids: set[str]
) -> dict[str, Any]:
    operation = endpoint.operation
    summary, description = as_text(operation.summary), as_markdown(operation.description)
    parameters = [*_in_path(endpoint, schemas), *_elsewhere(endpoint, schemas)]
    members: dict[str, Any] = {
        "tags": [] if endpoint.owner is None else [_tag(endpoint.owner)],
        "summary": summary,
        "description": description,
        "operationId": _id(endpoint, ids),
        "parameters": parameters,
        "deprecated": operation.deprecated,
    }
    members = {name: value for name, value in members.items() if value}
    if operation.body is not None:
        content = json_content(schemas.of(operation.body.type, "validation"))
        members["requestBody"] = {"required": operation.body.is_required, "content": content}
    kinds = error_kinds(operation, endpoint.method, bool(endpoint.converters))
    members["responses"] = responses.of(operation, is_get=endpoint.method == "get", kinds=kinds)
    return members


def _has_versions(endpoint: Documented) -> bool:
    return endpoint.operation.etag and endpoint.method == "get"


def _in_path(endpoint: Documented, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters in the path, each constrained by its converter and its type."""
    by_name = {p.name: schemas.of(p.type, "validation") for p in endpoint.operation.parameters}
    for name, converter in endpoint.converters.items():
        schema = schema_of_converter(converter)
        declared = by_name.get(name, {})
        if declared.get("type", schema["type"]) == schema["type"] and "$ref" not in declared:
            declared = {**schema, **declared}
        yield _parameter(name, "path", declared, is_required=True)


def _elsewhere(endpoint: Documented, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters in the query and in headers."""
    for parameter in endpoint.operation.parameters:
        if parameter.place != "path":
            schema = schemas.of(parameter.type, "validation")
            schema |= _default(parameter)
            is_required = parameter.default is MISSING
            yield _parameter(parameter.name, parameter.place, schema, is_required=is_required)
    if _has_versions(endpoint):
        for name in _CONDITIONS:
            yield {"$ref": f"#/components/parameters/{name}"}
    if versions_argument(endpoint.operation) is not None:
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
    """Return a default that a client could send; empty for None and for objects outside JSON."""
    if parameter.default is None or parameter.default is MISSING:
        return {}
    try:
        json.dumps(parameter.default)
    except TypeError:
        return {}
    return {"default": parameter.default}
