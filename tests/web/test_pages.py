"""Pages of long lists, and their cursors."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from x121.core.types import DbId
from x121.web.pages import Cursor, make_cursor, make_page

IDS = st.integers(0, 2**63 - 1).map(DbId)
read_cursor = TypeAdapter[DbId](Cursor).validate_python


@given(IDS)
def test_cursor(key: DbId) -> None:
    """A cursor is what a key was made into, and safe in a query as it is."""
    assert read_cursor(make_cursor(key)) == key
    assert make_cursor(key).replace("-", "").replace("_", "").isalnum()


@given(IDS, st.data())
def test_changed_cursor(key: DbId, data: st.DataObject) -> None:
    """A cursor of which one character is another is none."""
    cursor = make_cursor(key)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda character: character != cursor[at]))
    with pytest.raises(ValidationError, match="next_cursor"):
        read_cursor(cursor[:at] + other + cursor[at + 1 :])


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_made_up_cursor(text: str) -> None:
    """What somebody made up is no cursor."""
    with pytest.raises(ValidationError, match="next_cursor"):
        read_cursor(text)


@given(st.integers(0, 10), st.integers(1, 10))
def test_page(count: int, limit: int) -> None:
    """A page has at most its limit, and a cursor behind its last row if there are more."""
    rows = [DbId(number) for number in range(1, count + 1)][: limit + 1]
    page = make_page(rows, limit, key=lambda row: row)
    assert page.items == rows[:limit]
    assert page.next_cursor == (make_cursor(DbId(limit)) if count > limit else None)
