"""What all models share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from x121.core.models import Id, Model, Text, Timestamp, optional


class Thing(Model):
    id: Id = 1  # type: ignore[assignment]
    name: Annotated[Text, Field(max_length=3)] = "a"
    at: Timestamp = datetime(2026, 1, 1, tzinfo=UTC)
    weight: float = 1.0


class Box(Model):
    thing: Thing


class Changes(Model):
    name: Text = optional()
    count: int | None = optional()


def refused(kind: type[Model] = Thing, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        kind(**fields)
    return str(caught.value)


def test_ids() -> None:
    """An id is what a BIGINT identity can be."""
    assert Thing(id=2**63 - 1).id == 2**63 - 1  # type: ignore[arg-type]
    assert "id" in refused(id=2**63)
    assert "id" in refused(id=0)


def test_text() -> None:
    """Text is any Unicode but NUL, counted in characters."""
    assert Thing(name="😀\n\u202e").name == "😀\n\u202e"
    assert "name" in refused(name="a\0")
    assert "name" in refused(name="\0\n")
    assert "name" in refused(name="four")


def test_timestamps() -> None:
    """A moment has a time zone, and is kept in UTC."""
    there = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert Thing(at=there).at.tzinfo is UTC
    assert Thing(at=there).model_dump_json().count('"at":"2026-01-01T00:00:00Z"') == 1
    assert "at" in refused(at=datetime(2026, 1, 1))  # noqa: DTZ001
    assert Thing.model_validate_json('{"at": "2026-01-01T02:00:00+02:00"}', strict=True).at == there
    for text in (
        "0",
        "1700000000",
        "1e9",
        "12:00",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "",
        0,
        1.5,
    ):
        assert "at" in refused(at=text)


def test_numbers() -> None:
    """There are no numbers that JSON lacks."""
    assert "weight" in refused(weight=float("nan"))
    assert "weight" in refused(weight=float("-inf"))


def test_unknown_field() -> None:
    """A field that a model doesn't have is an error."""
    assert "colour" in refused(colour="red")


def test_frozen() -> None:
    """A model doesn't change."""
    thing = Thing()
    with pytest.raises(ValidationError):
        thing.name = "b"


def test_checked_again() -> None:
    """A model that was made without checks is found out where it is used."""
    wrong = Thing.model_construct(name="too long")
    assert "thing.name" in refused(Box, thing=wrong)


def test_no_secrets() -> None:
    """What was wrong isn't repeated in the error, which may be logged."""
    assert "hunter2" not in refused(name="hunter2")


def test_optional() -> None:
    """A field that may be left out isn't null, unless it says so; what was sent is known."""
    assert Changes().model_dump(exclude_unset=True) == {}
    assert Changes(name="a", count=None).model_dump(exclude_unset=True) == {
        "name": "a",
        "count": None,
    }
    assert "name" in refused(Changes, name=None)
    schema = Changes.model_json_schema()
    assert "required" not in schema
    assert "default" not in schema["properties"]["name"]
