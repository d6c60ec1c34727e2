"""Responses as values: a status, header fields and the bytes of a body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from x121.core import json_encoding
from x121.errors import AppError
from x121.http.headers import Headers

__all__ = [
    "JSON_FIELDS",
    "NO_FIELDS",
    "EncodedResponse",
    "error_response",
    "field_lines",
    "response_fields",
]

Fields = Mapping[bytes, bytes]
"""Header fields by their canonical names, in the order in which they are sent."""

NO_FIELDS: Fields = {}
JSON_FIELDS: Fields = {b"Content-Type": b"application/json"}


class EncodedResponse(NamedTuple):
    """A response that is ready to be sent; middleware adds its own fields to ``fields``."""

    status: int
    body: bytes = b""
    fields: Fields = NO_FIELDS


def field_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return ``fields`` as lines of a head, each with its CRLF."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def response_fields(headers: Iterable[tuple[str, str]]) -> dict[bytes, bytes]:
    """Return ``headers`` as fields; line breaks in values become spaces.

    Raises :class:`ValueError` for an invalid name.
    """
    safe = Headers()
    for name, value in headers:
        safe.set(name, value)
    return {name: values[-1] for name, values in safe.getAllRawHeaders()}


def error_response(error: AppError) -> EncodedResponse:
    """Return the response to a request that failed with ``error``: its JSON form.

    Raises :class:`TypeError` or :class:`ValueError` if its body or headers can't be sent.
    """
    if not isinstance(error.status, int):
        raise TypeError(
            f"invalid status of {type(error).__name__}: {error.status!r} (expected int)"
        )
    fields = JSON_FIELDS
    if error.headers:
        fields = {**JSON_FIELDS, **response_fields(error.headers.items())}
    return EncodedResponse(error.status, json_encoding.encode(error.body()), fields)
