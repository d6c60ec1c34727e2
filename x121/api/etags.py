"""Tags by which clients tell versions of a resource apart (RFC 9110 section 8.8.3).

A tag is made of what is sent, so it is another one whenever anything that a client could see is.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from x121.api.operation import Header
from x121.errors import PreconditionFailed
from x121.http.request import Request

__all__ = ["ANY_VERSION", "IfMatch", "Versions", "answer_if_known", "tag_of"]

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Elements may be empty (section 5.6.1.2), as when a proxy has joined lines of which one is.
_LIST = re.compile(rf"\s*\*\s*|[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_TAGS = re.compile(_TAG)


def tag_of(body: bytes) -> bytes:
    """Return the tag of a body, as the header has it."""
    return b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()


def answer_if_known(request: Request, body: bytes) -> bool:
    """Give the answer the tag of its ``body``; return whether the client has that version.

    Then the answer is 304, without a body.
    """
    tag = tag_of(body)
    request.setHeader(b"ETag", tag)
    is_known = _is_known(request, tag)
    if is_known:
        request.setResponseCode(304)
    return is_known


def _is_known(request: Request, tag: bytes) -> bool:
    """Whether the client of a GET or HEAD has the version ``tag`` already (section 13.1.2)."""
    given = request.requestHeaders.getRawHeaders(b"If-None-Match")
    if given is None or request.method not in (b"GET", b"HEAD"):
        return False
    text = b", ".join(given).decode("latin-1")
    tags = [one.removeprefix("W/") for one in _TAGS.findall(text)]
    return text.strip() == "*" or tag.decode() in tags


class Versions:
    """The versions of a resource that a client agrees to change: ``tags``, or None for any."""

    def __init__(self, tags: frozenset[str] | None) -> None:
        self._tags = tags

    def check(self, current: BaseModel) -> None:
        """Raise :class:`PreconditionFailed` unless ``current`` is one of these.

        Tags are compared strongly, so a weak one is of no version (RFC 9110 section 13.1.1).
        """
        if self._tags is None:
            return
        body = current.model_dump_json(by_alias=True).encode()
        if tag_of(body).decode() not in self._tags:
            raise PreconditionFailed("Somebody else has changed this: get it again")

    @classmethod
    def parse(cls, text: str) -> Versions:
        """Return what an ``If-Match`` asks for."""
        if _LIST.fullmatch(text) is None:
            raise PydanticCustomError("entity_tags", 'This is * or a list of tags such as "abc"')
        return cls(None if text.strip() == "*" else frozenset(_TAGS.findall(text)))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema())


ANY_VERSION = Versions(None)
"""What a client agrees to change that doesn't say."""

IfMatch = Annotated[
    Versions,
    Header("If-Match"),
    WithJsonSchema(
        {
            "type": "string",
            "format": "entity-tags",
            "pattern": r'^(\*|"[!#-~]*"(, ?"[!#-~]*")*)$',
            "description": "The version that the client agrees to change; 412 if it is another now",
            "examples": ["*", '"5f0c1b7b9a0d4e2f8c6a3b1d"'],
        }
    ),
]
"""A handler's parameter: the header ``If-Match`` (RFC 9110 section 13.1.1)."""
