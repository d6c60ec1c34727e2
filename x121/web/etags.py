"""Entity tags, which identify versions of a resource (RFC 9110 section 8.8.3).

A tag is the hash of the JSON that is sent, so it changes with everything that a client can see.

Tags are compared without their ``W/``, in ``If-Match`` too, although RFC 9110 section 13.1.1
requires the strong comparison there.  The server's tags identify the version of a row, not the
bytes of a response, and are always strong.  A proxy that compresses turns ``"x"`` into ``W/"x"``
(nginx does), so a weak tag is still the server's tag of that version.  Rejecting it would protect
no data, and every conditional change behind such a proxy would fail.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Annotated, Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from x121.errors import FieldError, PreconditionFailed
from x121.http.facts import RequestFacts
from x121.web.operations import Header, Operation

__all__ = [
    "ANY_VERSION",
    "TAGS_SCHEMA",
    "EntityTags",
    "IfMatch",
    "etag_of",
    "exclude_versions",
    "is_current",
    "versions_argument",
]

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Elements may be empty (section 5.6.1.2), such as when a proxy has joined an empty line to others.
_LIST = re.compile(rf"\s*\*\s*|[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_TAGS = re.compile(_TAG)

_CHANGED = "The resource has changed since this version: get it again"


def etag_of(body: bytes) -> bytes:
    """Return the tag of a body, in the form of the header."""
    return b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()


def is_current(request: RequestFacts, tag: bytes) -> bool:
    """Return True if a GET or HEAD has ``tag`` in ``If-None-Match``: the response is 304.

    Raises :class:`PreconditionFailed` if it asks for another version with ``If-Match``.
    """
    if request.method not in (b"GET", b"HEAD"):
        return False
    required = _field(request, b"If-Match")
    if required is not None and not _lists(required, tag):
        raise PreconditionFailed(_CHANGED)
    client_tags = _field(request, b"If-None-Match")
    return client_tags is not None and _lists(client_tags, tag)


def _field(request: RequestFacts, name: bytes) -> str | None:
    value = request.requestHeaders.joined(name)
    return None if value is None else value.decode("latin-1")


def _lists(field: str, tag: bytes) -> bool:
    """Return True if ``field`` is ``*`` or lists ``tag``, strong or weak."""
    return field.strip() == "*" or tag.decode() in _tags_in(field)


def _tags_in(field: str) -> frozenset[str]:
    return frozenset(tag.removeprefix("W/") for tag in _TAGS.findall(field))


class EntityTags:
    """The versions of a resource that a client allows a request to change.

    ``tags`` are those in ``If-Match``, None for any version.  ``excluded`` are those in
    ``If-None-Match``, None for any version: then the resource must not exist.
    """

    def __init__(
        self, tags: frozenset[str] | None, excluded: frozenset[str] | None = frozenset()
    ) -> None:
        self._tags = tags
        self._excluded = excluded

    def check(self, current: BaseModel) -> None:
        """Raise :class:`PreconditionFailed` unless ``current`` is an allowed version."""
        if self._tags is None and self._excluded is not None and not self._excluded:
            return
        tag = etag_of(current.model_dump_json(by_alias=True).encode()).decode()
        if self._tags is not None and tag not in self._tags:
            raise PreconditionFailed(_CHANGED)
        if self._excluded is None or tag in self._excluded:
            raise PreconditionFailed("The resource exists in a version that If-None-Match excludes")

    def excluding(self, text: str) -> EntityTags:
        """Return these versions without those in ``text``, the value of an ``If-None-Match``.

        Raises :class:`PydanticCustomError` if it isn't a list of tags.
        """
        return EntityTags(self._tags, _parse(text))

    @classmethod
    def parse(cls, text: str) -> EntityTags:
        """Return the versions in ``text``, the value of an ``If-Match``."""
        return cls(_parse(text))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema())


def _parse(text: str) -> frozenset[str] | None:
    if _LIST.fullmatch(text) is None:
        raise PydanticCustomError("entity_tags", 'This is not * or a list of tags such as "abc"')
    return None if text.strip() == "*" else _tags_in(text)


TAGS_SCHEMA = {
    "type": "string",
    "format": "entity-tags",
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$',
}
"""The JSON Schema of a header that lists tags."""

ANY_VERSION = EntityTags(None)
"""All versions: the client sent no ``If-Match``."""

IfMatch = Annotated[
    EntityTags,
    Header("If-Match"),
    WithJsonSchema(
        {
            **TAGS_SCHEMA,
            "description": "Change only this version; 412 if the current version is another",
            "examples": ["*", '"5f0c1b7b9a0d4e2f8c6a3b1d"'],
        }
    ),
]
"""A handler's parameter: the header ``If-Match`` (RFC 9110 section 13.1.1).

``If-None-Match`` (section 13.1.2) is part of its value: ``check`` checks both.
"""


def versions_argument(operation: Operation) -> str | None:
    """Return the name of a handler's :data:`IfMatch` argument, or None without one."""
    arguments = (p.argument for p in operation.parameters if EntityTags in get_args(p.type))
    return next(arguments, None)


def exclude_versions(
    request: RequestFacts, argument: str, arguments: dict[str, Any], wrong: list[FieldError]
) -> None:
    """Exclude the versions in ``If-None-Match`` from those in ``arguments``.

    An invalid list of tags is added to ``wrong``.
    """
    excluded = _field(request, b"If-None-Match")
    if excluded is None:
        return
    try:
        arguments[argument] = arguments.get(argument, ANY_VERSION).excluding(excluded)
    except PydanticCustomError as error:
        wrong.append(FieldError(path="If-None-Match", message=str(error)))
