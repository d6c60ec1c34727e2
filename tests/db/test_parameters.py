"""Parameters of queries: the types that are sent, and errors that say what to write."""

from __future__ import annotations

import datetime
import enum
import ipaddress
import uuid
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from psycopg2.sql import SQL

from x121.db.pool import Pool
from x121.errors import UnstorableValue, as_app_error


class Colour(enum.Enum):
    RED = "red"


class Mood(enum.StrEnum):
    GOOD = "good"


class Size(enum.IntEnum):
    LARGE = 3


ID = uuid.UUID("5c3d9a6b-1f30-41ea-b2b2-689776a0c2d3")
NOON = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "cast", "read"),
    [
        (ID, "uuid", ID),
        ([ID], "uuid[]", [ID]),
        ({"a": [1, None, {"b": "c"}]}, "jsonb", {"a": [1, None, {"b": "c"}]}),
        ({"id": ID, "at": NOON}, "jsonb", {"id": str(ID), "at": "2026-11-28T12:00:00Z"}),
        (Colour.RED, "text", "red"),
        (Mood.GOOD, "text", "good"),
        (Size.LARGE, "int", 3),
        (ipaddress.ip_address("2001:db8::1"), "inet", "2001:db8::1"),
        (ipaddress.ip_network("10.0.0.0/8"), "cidr", "10.0.0.0/8"),
        (ipaddress.ip_interface("10.0.0.1/8"), "inet", "10.0.0.1/8"),
        (Decimal("1.10"), "numeric", Decimal("1.10")),
        (NOON, "timestamptz", NOON),
        (datetime.timedelta(hours=1), "interval", datetime.timedelta(hours=1)),
        (b"\0\xff", "bytea", b"\0\xff"),
        ([1, 2], "int[]", [1, 2]),
        ([], "int[]", []),
        (True, "bool", True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_types(pool: Pool, value: Any, cast: str, read: Any) -> None:
    """A value of each type is sent, and read back as its column's type has it."""
    (found,) = await pool.fetch_one(f"SELECT %s::{cast}", (value,))
    assert (bytes(found) if cast == "bytea" else found) == read


@pytest_twisted.ensureDeferred
async def test_id_without_a_cast(pool: Pool) -> None:
    """A UUID finds a row by its key."""
    await pool.execute("CREATE TABLE item (id uuid PRIMARY KEY)")
    await pool.execute("INSERT INTO item VALUES (%s)", (ID,))
    assert await pool.fetch_one("SELECT id FROM item WHERE id = %s", (ID,)) == (ID,)


@pytest.mark.parametrize(
    ("query", "params", "message"),
    [
        ("SELECT 1 WHERE 'ab' LIKE 'a%' AND 1 = %s", (1,), r"write %% for a percent sign"),
        ("SELECT '50% off', %s", (1,), r"'% ' is no placeholder: write %%"),
        ("SELECT 5 % %s", (2,), r"'% ' is no placeholder"),
        ("SELECT %d", (1,), r"'%d' is no placeholder"),
        ("SELECT %s, '%", (1,), r"'%' is no placeholder|'%' is no"),
        ("SELECT %s, %s", (1,), r"the number of %s is 2, the number of params 1"),
        ("SELECT %s", (1, 2), r"the number of %s is 1, the number of params 2"),
        ("SELECT %s", "name", r"params must be a sequence or a mapping, not str"),
        ("SELECT %(a)s", (1,), r"%\(a\)s needs params that are a mapping, not tuple"),
        ("SELECT %s", {"a": 1}, r"%s needs params that are a sequence, not dict"),
        ("SELECT %(a)s, %(b)s", {"a": 1}, r"params lack b"),
        ("SELECT %(a)s, %s", {"a": 1}, r"can't stand in one query"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_misused_placeholders(pool: Pool, query: str, params: Any, message: str) -> None:
    """Placeholders and params that don't fit are a ValueError that shows the query."""
    for form in (query, SQL(query)):
        with pytest.raises(ValueError, match=message) as caught:
            await pool.fetch_one(form, params)
        assert str(caught.value).endswith(f"in the query: {query}")
        assert not isinstance(caught.value, psycopg2.Error)
    assert await pool.fetch_one("SELECT 1") == (1,)


@pytest_twisted.ensureDeferred
async def test_missing_params(pool: Pool) -> None:
    """A placeholder without params is a TypeError that shows the query."""
    with pytest.raises(
        TypeError, match=r"are params missing\? In the query: SELECT 1 WHERE 1 = %s"
    ):
        await pool.fetch_one("SELECT 1 WHERE 1 = %s")
    with pytest.raises(psycopg2.errors.SyntaxError):
        await pool.fetch_one("SELEC '100%'")


@pytest_twisted.ensureDeferred
async def test_messages_have_no_values(pool: Pool) -> None:
    """Values aren't in the message, and of a long query only its beginning is."""
    query = "SELECT %s, %s, '" + "x" * 10_000 + "'"
    with pytest.raises(ValueError, match="number of params") as caught:
        await pool.fetch_one(query, ("hunter2",))
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT %s", "a\0b"),
        ("SELECT %s", "a\ud800b"),
        ("SELECT %s::jsonb", {"a": "\0"}),
        ("SELECT %s::jsonb", '"\\u0000"'),
        ("SELECT %s::int", "abc"),
        ("SELECT %s::int", 2**40),
        ("SELECT %s::date", "2026-02-30"),
        ("INSERT INTO short VALUES (%s)", "four"),
        ("INSERT INTO short VALUES (%s)", None),
        ("INSERT INTO short VALUES (%s)", "no"),
        ("SELECT %s::jsonb", "[" * 100_000 + "]" * 100_000),
    ],
)
@pytest_twisted.ensureDeferred
async def test_values_that_cannot_be_stored(pool: Pool, query: str, value: Any) -> None:
    """A value that PostgreSQL refuses is 400, and its text isn't told."""
    await pool.execute(
        "CREATE TABLE short (name varchar(3) NOT NULL CONSTRAINT ck_short CHECK (name != 'no'))"
    )
    with pytest.raises((UnstorableValue, psycopg2.Error)) as caught:
        await pool.execute(query, (value,))
    error = as_app_error(caught.value)
    assert (error.status, error.code) == (400, "BAD_REQUEST")
    assert "refused a value" in error.detail
    assert error.message.endswith(("of the request", "value is missing", "constraint: ck_short"))
    assert await pool.fetch_one("SELECT 1") == (1,)
