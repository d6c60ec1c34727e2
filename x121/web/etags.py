"""Entity tags: clients tell versions of a resource apart by them (RFC 9110 section 8.8.3).

A tag is made of the JSON that is sent, so it changes with anything that a client could see.

Tags are compared without their ``W/``, in ``If-Match`` too, where RFC 9110 section 13.1.1 asks for
the strong comparison.  A tag of this server identifies the version of a row, not the bytes of a
response, and it is always strong here.  A proxy that compresses turns ``"x"`` into ``W/"x"`` (nginx
does), so a weak tag is still our own tag of that version: to refuse it would make every conditional
change behind such a proxy fail, and would protect nobody.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Annotated, Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from x121.errors import FieldError, PreconditionFailed
from x121.http.request import Request
from x121.web.operations import Header, Operation

__all__ = [
    "ANY_VERSION",
    "TAGS_SCHEMA",
    "EntityTags",
    "IfMatch",
    "apply_etag",
    "etag_of",
    "exclude_versions",
    "versions_argument",
]

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Elements may be empty (section 5.6.1.2), as when a proxy has joined lines of which one is.
_LIST = re.compile(rf"\s*\*\s*|[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_TAGS = re.compile(_TAG)

_CHANGED = "Somebody else has changed this: get it again"


def etag_of(body: bytes) -> bytes:
    """Return the tag of a body, as the header has it."""
    return b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()


def apply_etag(request: Request, body: bytes) -> bool:
    """Set the tag of ``body`` as the response's ETag; return whether the client has that version.

    If so, the response is 304, without a body.  Raises :class:`PreconditionFailed` if a GET or HEAD
    asks for another version with ``If-Match``.
    """
    tag = etag_of(body)
    request.setHeader(b"ETag", tag)
    if request.method not in (b"GET", b"HEAD"):
        return False
    required = _field(request, b"If-Match")
    if required is not None and not _lists(required, tag):
        raise PreconditionFailed(_CHANGED)
    known = _field(request, b"If-None-Match")
    is_known = known is not None and _lists(known, tag)
    if is_known:
        request.setResponseCode(304)
    return is_known


def _field(request: Request, name: bytes) -> str | None:
    lines = request.requestHeaders.get_all(name)
    return b", ".join(lines).decode("latin-1") if lines else None


def _lists(field: str, tag: bytes) -> bool:
    """Whether ``field`` is ``*`` or lists ``tag``, strong or weak."""
    return field.strip() == "*" or tag.decode() in _tags_in(field)


def _tags_in(field: str) -> frozenset[str]:
    return frozenset(tag.removeprefix("W/") for tag in _TAGS.findall(field))


class EntityTags:
    """The versions of a resource that a client agrees to change.

    ``tags`` are those that it has listed in ``If-Match``, or None for any; ``excluded`` those in
    ``If-None-Match``, or None for any: then the resource must not exist.
    """

    def __init__(
        self, tags: frozenset[str] | None, excluded: frozenset[str] | None = frozenset()
    ) -> None:
        self._tags = tags
        self._excluded = excluded

    def check(self, current: BaseModel) -> None:
        """Raise :class:`PreconditionFailed` unless the client agrees to change ``current``."""
        if self._tags is None and self._excluded is not None and not self._excluded:
            return
        tag = etag_of(current.model_dump_json(by_alias=True).encode()).decode()
        if self._tags is not None and tag not in self._tags:
            raise PreconditionFailed(_CHANGED)
        if self._excluded is None or tag in self._excluded:
            raise PreconditionFailed("This exists in a version that If-None-Match excludes")

    def excluding(self, text: str) -> EntityTags:
        """Return these versions without those that ``text``, an ``If-None-Match``, lists.

        Raises :class:`PydanticCustomError` for what is no list of tags.
        """
        return EntityTags(self._tags, _parse(text))

    @classmethod
    def parse(cls, text: str) -> EntityTags:
        """Return the versions that ``text``, an ``If-Match``, lists."""
        return cls(_parse(text))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema())


def _parse(text: str) -> frozenset[str] | None:
    if _LIST.fullmatch(text) is None:
        raise PydanticCustomError("entity_tags", 'This is * or a list of tags such as "abc"')
    return None if text.strip() == "*" else _tags_in(text)


TAGS_SCHEMA = {
    "type": "string",
    "format": "entity-tags",
    "pattern": r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$',
}
"""The JSON Schema of a header that lists tags."""

ANY_VERSION = EntityTags(None)
"""Any version: the client sent no ``If-Match``."""

IfMatch = Annotated[
    EntityTags,
    Header("If-Match"),
    WithJsonSchema(
        {
            **TAGS_SCHEMA,
            "description": "The version that the client agrees to change; 412 if it is another now",
            "examples": ["*", '"5f0c1b7b9a0d4e2f8c6a3b1d"'],
        }
    ),
]
"""A handler's parameter: the header ``If-Match`` (RFC 9110 section 13.1.1).

``If-None-Match`` (section 13.1.2) is part of its value: ``check`` refuses what either refuses.
"""


def versions_argument(operation: Operation) -> str | None:
    """Return the argument of a handler that is an :data:`IfMatch`, or None if it has none."""
    arguments = (p.argument for p in operation.parameters if EntityTags in get_args(p.type))
    return next(arguments, None)


def exclude_versions(
    request: Request, argument: str, arguments: dict[str, Any], wrong: list[FieldError]
) -> None:
    """Exclude what ``If-None-Match`` lists from the versions in ``arguments``.

    A field that is no list of tags is added to ``wrong``.
    """
    excluded = _field(request, b"If-None-Match")
    if excluded is None:
        return
    try:
        arguments[argument] = arguments.get(argument, ANY_VERSION).excluding(excluded)
    except PydanticCustomError as error:
        wrong.append(FieldError(path="If-None-Match", message=str(error)))
