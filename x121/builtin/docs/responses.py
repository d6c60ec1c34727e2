"""Responses of an endpoint in OpenAPI's form: its result, and every error."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from x121.builtin.docs.markdown import first_sentence
from x121.builtin.docs.schemas import Schema, Schemas, Use
from x121.core.models import optional
from x121.errors import (
    AppError,
    BadRequest,
    Forbidden,
    HeadersTooLarge,
    InternalError,
    MisdirectedRequest,
    NotFound,
    Panic,
    PayloadTooLarge,
    PreconditionFailed,
    RequestTimeout,
    ServiceUnavailable,
    UnsupportedMediaType,
    UriTooLong,
    reason_phrase,
)
from x121.web.operations import MISSING, Operation

__all__ = ["Kinds", "Responses", "error_kinds", "json_content", "unique", "uses_of_errors"]

Kinds = tuple[type[AppError], ...]
"""Kinds of errors with one status."""

_ANYWHERE: Kinds = (
    BadRequest,
    RequestTimeout,
    PayloadTooLarge,
    UriTooLong,
    MisdirectedRequest,
    HeadersTooLarge,
    InternalError,
    Panic,
    ServiceUnavailable,
)
# Other methods may give 403: pages of other sites may not write.
_SAFE_METHODS = ("get", "head", "options")
_REQUEST_ID = "X-Request-Id"
_HEADERS = {
    _REQUEST_ID: {
        "description": "The request's id, as in the server's log",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "ETag": {
        "description": "The version of the resource in this response",
        "required": True,
        "schema": {"type": "string"},
    },
}


# --- the form of errors -------------------------------------------------------------------


class FieldError(BaseModel):
    """One invalid field of a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    path: str
    """The place of the field, such as `items[2].name`; empty for the whole body"""

    message: str
    """The reason why it is invalid"""


class Error(BaseModel):
    """An error."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    error: str
    """A message for people"""

    code: str
    """A code for programs"""

    details: list[FieldError] = optional()
    """All invalid fields of the request, if there are any"""


def error_kinds(operation: Operation, method: str, has_path_parameters: bool) -> list[Kinds]:
    """Return every kind of error that an endpoint may respond with, grouped by status."""
    kinds = list(_ANYWHERE)
    if method not in _SAFE_METHODS:
        kinds.append(Forbidden)
    if operation.etag and method == "get":
        kinds.append(PreconditionFailed)
    if has_path_parameters:
        kinds.append(NotFound)
    if operation.body is not None:
        kinds.append(UnsupportedMediaType)
    by_status: dict[int, list[type[AppError]]] = {}
    for kind in dict.fromkeys([*kinds, *operation.errors]):
        by_status.setdefault(kind.status, []).append(kind)
    return [tuple(by_status[status]) for status in sorted(by_status)]


def uses_of_errors(kinds: Iterable[type[AppError]]) -> Iterator[Use]:
    """Yield the types in the responses for ``kinds``."""
    yield Use("errors", Error, "serialization")
    for kind in kinds:
        for name, member in kind.documented_members.items():
            yield Use(f"{kind.__qualname__}: {name}", member, "serialization")


# --- responses ----------------------------------------------------------------------------


class Responses:
    """Creates responses, and collects the ``components`` and ``headers`` that they refer to."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._names: dict[Kinds, str] = {}
        self.components: dict[str, Any] = {}
        self.headers = _HEADERS

    def of(self, operation: Operation, *, is_get: bool, kinds: Sequence[Kinds]) -> dict[str, Any]:
        """Return every response of an operation, by status."""
        responses = {operation.status: self._result(operation)}
        if operation.etag and is_get:
            responses[304] = self._not_modified()
        for group in kinds:
            responses[group[0].status] = self._error(group)
        return {str(status): responses[status] for status in sorted(responses)}

    def _result(self, operation: Operation) -> dict[str, Any]:
        headers = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in operation.headers.items()
        }
        names = [_REQUEST_ID, *(["ETag"] if operation.etag else [])]
        response: dict[str, Any] = {
            "description": reason_phrase(operation.status),
            "headers": {**headers, **_common(names)},
        }
        if operation.result is not None and operation.result is not MISSING:
            response["content"] = json_content(self._schemas.of(operation.result, "serialization"))
        return response

    def _not_modified(self) -> dict[str, Any]:
        self.components["NotModified"] = {
            "description": "The current version is the one in `If-None-Match`",
            "headers": _common([_REQUEST_ID, "ETag"]),
        }
        return {"$ref": "#/components/responses/NotModified"}

    def _error(self, kinds: Kinds) -> dict[str, Any]:
        if kinds not in self._names:
            name = unique("Or".join(kind.__name__ for kind in kinds), self.components)
            self._names[kinds] = name
            self.components[name] = self._make_error(kinds)
        return {"$ref": f"#/components/responses/{self._names[kinds]}"}

    def _make_error(self, kinds: Kinds) -> dict[str, Any]:
        return {
            "description": _describe(kinds),
            "headers": {**_error_headers(kinds), **_common([_REQUEST_ID])},
            "content": json_content(self._error_schema(kinds)),
        }

    def _error_schema(self, kinds: Kinds) -> Schema:
        codes = list(dict.fromkeys(kind.code for kind in kinds))
        members = {
            name: self._schemas.of(member, "serialization")
            for kind in kinds
            for name, member in kind.documented_members.items()
        }
        required = [name for name in members if all(name in k.documented_members for k in kinds)]
        special: Schema = {
            "properties": {
                "code": {"const": codes[0]} if len(codes) == 1 else {"enum": codes},
                **members,
            }
        }
        if required:
            special["required"] = required
        return {"allOf": [self._schemas.of(Error, "serialization"), special]}


def json_content(schema: Schema) -> dict[str, Any]:
    """Return the content of a request or response with a JSON body."""
    return {"application/json": {"schema": schema}}


def _common(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error_headers(kinds: Kinds) -> dict[str, Any]:
    """Return the headers of errors; those that only some of the kinds have are optional."""
    return {
        name: {
            "description": text,
            "required": all(name in kind.documented_headers for kind in kinds),
            "schema": {"type": "string"},
        }
        for error_kind in kinds
        for name, text in error_kind.documented_headers.items()
    }


def _describe(kinds: Kinds) -> str:
    sentences = [first_sentence(inspect.getdoc(kind) or kind.__name__) for kind in kinds]
    if len({kind.code for kind in kinds}) > 1:
        sentences = [f"`{kind.code}`: {text}" for kind, text in zip(kinds, sentences, strict=True)]
    return "\n\n".join(sentences)


def unique(name: str, taken: Iterable[str]) -> str:
    """Return ``name``, with a number if it is taken."""
    taken = set(taken)
    candidates = (name if number == 1 else f"{name}{number}" for number in itertools.count(1))
    return next(candidate for candidate in candidates if candidate not in taken)
