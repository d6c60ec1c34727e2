"""Keyset pagination of long lists.

A page begins after a key, not at an offset: every page costs the same, and no row is skipped or
repeated when others are inserted or deleted (https://use-the-index-luke.com/no-offset).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Annotated, Generic, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from x121.core.models import Model
from x121.core.types import DbId

__all__ = ["MAX_ROWS", "Cursor", "Limit", "Page", "make_cursor", "make_page"]

T = TypeVar("T")

MAX_ROWS = 100
"""The maximum number of rows on a page."""

_KEY_BYTES = 8
_CHECK_BYTES = 4


class Page(Model, Generic[T]):
    """A part of a list."""

    items: list[T]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""


def make_page(rows: Sequence[T], limit: int, key: Callable[[T], DbId]) -> Page[T]:
    """Return a page of up to ``limit`` of ``rows``; another page follows if there are more."""
    page = list(rows[:limit])
    more = len(rows) > limit
    return Page(items=page, next_cursor=make_cursor(key(page[-1])) if more else None)


def make_cursor(key: DbId) -> str:
    """Return the cursor of the page after the row with ``key``.

    It isn't secret, and protects nothing.  It has a checksum, so that a truncated or invented
    cursor is an error instead of another page.
    """
    packed = key.to_bytes(_KEY_BYTES)
    check = blake2b(packed, digest_size=_CHECK_BYTES, person=b"x121 cursor").digest()
    return urlsafe_b64encode(packed + check).decode()


def _read_cursor(text: str) -> DbId:
    try:
        packed = urlsafe_b64decode(text)[:_KEY_BYTES]
    except ValueError:
        packed = b""
    key = DbId(int.from_bytes(packed))
    if text != make_cursor(key):
        raise PydanticCustomError("cursor", "This is not a cursor: expected a page's next_cursor")
    return key


Cursor = Annotated[
    DbId,
    BeforeValidator(_read_cursor),
    WithJsonSchema({"type": "string", "format": "cursor"}),
    Field(description="The start of the page: `next_cursor` of the previous page"),
]
"""A handler's parameter: the key of the last row of the previous page."""

Limit = Annotated[int, Field(ge=1, le=MAX_ROWS, description="The maximum number of items")]
"""A handler's parameter: the maximum number of rows on the page."""
