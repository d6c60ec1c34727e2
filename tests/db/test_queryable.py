"""Rows as models, by the names of their columns."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from pydantic import Field

from x121.core.models import Model, Text
from x121.db.pool import Pool
from x121.db.queryable import Queryable
from x121.errors import InternalError, RowNotFound


class Point(Model):
    x: int
    y: int
    name: Text = "none"


@pytest_twisted.ensureDeferred
async def test_by_name(pool: Pool) -> None:
    """A column's value goes into the field of its name, wherever it stands."""
    query = "SELECT * FROM (VALUES (1, 2), (3, 4)) AS points (y, x)"
    assert await pool.fetch_all(query, into=Point) == [Point(x=2, y=1), Point(x=4, y=3)]
    assert await pool.fetch_one(query, into=Point) == Point(x=2, y=1)
    assert await pool.fetch_optional(query, into=Point) == Point(x=2, y=1)


@pytest_twisted.ensureDeferred
async def test_without_rows(pool: Pool) -> None:
    """Where there is no row there is no model."""
    query = "SELECT 1 AS x, 2 AS y WHERE false"
    assert await pool.fetch_all(query, into=Point) == []
    assert await pool.fetch_optional(query, into=Point) is None
    with pytest.raises(RowNotFound):
        await pool.fetch_one(query, into=Point)


@pytest_twisted.ensureDeferred
async def test_in_a_transaction(pool: Pool) -> None:
    """A function that takes a Queryable runs on a pool as it does in a transaction."""

    async def origin(db: Queryable) -> Point:
        return await db.fetch_one("SELECT 0 AS x, 0 AS y", into=Point)

    async with pool.transaction() as transaction:
        assert await origin(transaction) == await origin(pool) == Point(x=0, y=0)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT 1 AS x", "no column for y"),
        ("SELECT 1 AS x, 2 AS y, 3 AS z", "no field for z"),
        ("SELECT 1 AS x, 2 AS y, 3 AS x", "several columns named x"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_columns(pool: Pool, query: str, problem: str) -> None:
    """Columns that don't fit are an error that names them, every time."""
    for _ in range(2):
        with pytest.raises(InternalError) as caught:
            await pool.fetch_one(query, into=Point)
        assert problem in str(caught.value)
        assert "Point" in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_unfit_value(pool: Pool) -> None:
    """A value that doesn't fit its field is an error that doesn't show it."""
    with pytest.raises(InternalError) as caught:
        await pool.fetch_one("SELECT 1 AS x, 'hunter2' AS y", into=Point)
    assert "y" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_by_the_fields_name(pool: Pool) -> None:
    """A field that clients know by another name has its own in the database."""

    class Aliased(Model):
        from_: int = Field(alias="from")

    found: Any = await pool.fetch_one("SELECT 7 AS from_", into=Aliased)
    assert found.from_ == 7
