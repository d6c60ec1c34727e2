"""Values that are text in a request: one form for each type."""

from __future__ import annotations

import enum
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from x121.core.models import Id, Timestamp
from x121.web.text_values import list_elements, text_validator

ID = "0190d1a4-1b7e-7c3a-9f52-6a1d0c8e4b21"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 7


class Unit(enum.Enum):
    KILOGRAM = "kg"

    @classmethod
    def _missing_(cls, value: object) -> Unit | None:
        return cls.KILOGRAM if value == "KG" else None


def read(kind: Any, value: Any) -> Any:
    return text_validator(TypeAdapter(kind))(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "20", 20),
        (int, "-5", -5),
        (int, "007", 7),
        (int, "9" * 40, int("9" * 40)),
        (Id, "3", 3),
        (Annotated[int, Field(strict=True)], "3", 3),
        (float, "2.5", 2.5),
        (float, "-1e3", -1000.0),
        (Decimal, "1.10", Decimal("1.10")),
        (bool, "true", True),
        (bool, "false", False),
        (UUID, ID, UUID(ID)),
        (UUID, ID.upper(), UUID(ID)),
        (date, "2026-01-02", date(2026, 1, 2)),
        (datetime, "2026-01-02T03:04:05Z", MOMENT),
        (datetime, "2026-01-02t04:04:05+01:00", MOMENT),
        (Timestamp, "2026-01-02T03:04:05Z", MOMENT),
        (time_of_day, "03:04", time_of_day(3, 4)),
        (timedelta, "P1DT2H", timedelta(days=1, hours=2)),
        (Literal[1, 2], "2", 2),
        (Literal["1", 1], "1", "1"),
        (Literal[True, "other"], "true", True),
        (Literal[Size.LARGE], "2", Size.LARGE),
        (Size, "2", Size.LARGE),
        (Colour, "red", Colour.RED),
        (Colour, "7", Colour.NUMBER),
        (Unit, "KG", Unit.KILOGRAM),
        (Annotated[Size, Field(strict=True)], "1", Size.SMALL),
        (int | None, "5", 5),
        (int | str, "5", 5),
        (int | str, "1_0", "1_0"),
        (list[int], ["1", "2"], [1, 2]),
        (set[Size], ["1", "1"], {Size.SMALL}),
        (tuple[Size, ...], ["1", "2"], (Size.SMALL, Size.LARGE)),
        (list[Size] | Size, "2", Size.LARGE),
        (int, 7, 7),  # from the path, whose converter has made a number of it
    ],
)
def test_taken(kind: Any, text: Any, value: Any) -> None:
    """Each type has a form that is taken."""
    found = read(kind, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (int, ["1_0", "1.0", "+5", "1\n", " 5", "5 ", "\uff15", "\u0661", "", "-", "1e3", "0x1"]),
        (int, ["9" * 41, "9" * 10_000]),
        (float, ["nan", "NaN", "inf", "-Infinity", "1e999", ".5", "5.", "1_0", "+1", " 1"]),
        (Annotated[float, Field(allow_inf_nan=True)], ["nan", "inf", "1e999"]),
        (Decimal, ["NaN", "Infinity", "sNaN", "1_0", "+1", "1e9999"]),
        (bool, ["True", "1", "0", "on", "off", "yes", "t", "", "true\n"]),
        (UUID, [ID.replace("-", ""), "{" + ID + "}", f"urn:uuid:{ID}", ID[:-1]]),
        (date, ["1767312000", "2026-01-02T00:00:00", "2026-1-2", "2026-02-30", "20260102"]),
        (datetime, ["1767312000", "2026-01-02", "2026-01-02 03:04:05", "2026-01-02T25:00:00Z"]),
        (time_of_day, ["3600", "03", "030405", "24:00"]),
        (timedelta, ["3600", "01:00:00", "P", "P9999999999D"]),
        (Literal[1, 2, None], ["3", "1.0", "None", "null"]),
        (Size, ["3", "SMALL", "1.0"]),
        (Unit, ["g"]),
        (list[int], [["1", "+2"]]),
    ],
)  # fmt: skip
def test_refused(kind: Any, texts: list[Any]) -> None:
    """Any other form is refused, in words that don't repeat it."""
    for text in texts:
        with pytest.raises(ValidationError) as caught:
            read(kind, text)
        assert caught.value.errors()[0]["msg"], text


def test_bounds() -> None:
    """A type's bounds are checked on the value."""
    kind = Annotated[int, Field(ge=1, le=100)]
    with pytest.raises(ValidationError, match="less than or equal to 100"):
        read(kind, "101")


@given(st.text(max_size=10))
def test_any_integer(text: str) -> None:
    """A text that is an integer is one in ASCII digits."""
    try:
        value = read(int, text)
    except ValidationError:
        return
    assert text.lstrip("-").isascii()
    assert text.lstrip("-").isdigit()
    assert value == int(text)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        ("a", ["a"]),
        ("a, b,c ,\td", ["a", "b", "c", "d"]),
        (" ,, a,,", ["a"]),
        ('"a, b", W/"c"', ['"a, b"', 'W/"c"']),
        (r'"a\", b", c', [r'"a\", b"', "c"]),
        ('a="1,2";q=1, b', ['a="1,2";q=1', "b"]),
        ('a, "b, c', ["a", '"b, c']),
        ('"\\', ['"\\']),
    ],
)
def test_list_elements(text: str, elements: list[str]) -> None:
    """A header that is a list has its elements between commas, but not between quotes."""
    assert list_elements(text) == elements


def test_cost_of_elements() -> None:
    """The cost of a list grows with its length, whatever is in it."""
    usual = _cost("abcdefgh, " * 10_000)
    for text in ('"\\' * 50_000, '"' * 100_000, "," * 100_000, 'a"' * 50_000, '"a' * 50_000):
        assert _cost(text) / usual < 30


def _cost(text: str) -> float:
    taken = []
    for _ in range(3):
        begun = time.process_time()
        list_elements(text)
        taken.append(time.process_time() - begun)
    return min(taken)
