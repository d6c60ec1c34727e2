"""Long lists, page by page.

A page begins behind a key, not at a number: it costs the same however far behind it is, and neither
skips nor repeats a row when others come and go (https://use-the-index-luke.com/no-offset).
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
"""How many rows a page has at most."""

_KEY_BYTES = 8
_CHECK_BYTES = 4


class Page(Model, Generic[T]):
    """A part of a list."""

    items: list[T]
    next_cursor: str | None
    """What to give as `cursor` for the next page; null on the last one."""


def make_page(rows: Sequence[T], limit: int, key: Callable[[T], DbId]) -> Page[T]:
    """Return the page that ``rows`` are, of which there is one more if there is another page."""
    page = list(rows[:limit])
    more = len(rows) > limit
    return Page(items=page, next_cursor=make_cursor(key(page[-1])) if more else None)


def make_cursor(key: DbId) -> str:
    """Return the cursor of the page behind the row with ``key``.

    It is no secret, and guards nothing.  But it has a check, so that one that was cut off or made
    up is an error, and not some other page.
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
        raise PydanticCustomError("cursor", "This is not a cursor: give a page's next_cursor")
    return key


Cursor = Annotated[
    DbId,
    BeforeValidator(_read_cursor),
    WithJsonSchema({"type": "string", "format": "cursor"}),
    Field(description="Where the page begins: the `next_cursor` of the one before"),
]
"""A handler's parameter: the key of the last row of the page before."""

Limit = Annotated[int, Field(ge=1, le=MAX_ROWS, description="How many there are on a page")]
"""A handler's parameter: how many rows a page has."""
