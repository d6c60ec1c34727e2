"""Values that are valid by how they were made are sent as they are; all others are validated."""

from __future__ import annotations

import copy
import enum
import math
import pickle
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import ConfigDict, Field, TypeAdapter, computed_field, field_serializer

from x121.core.models import Model, Text, Timestamp, optional
from x121.core.valid_values import recognizer
from x121.core.validation import ResultSerializer
from x121.errors import InternalError


class Part(Model):
    """A model without parts that can change."""

    name: Annotated[Text, Field(max_length=5)]
    at: Timestamp | None = None


class Whole(Model):
    """A model with other models in it."""

    first: Part
    rest: list[Part] = Field(default_factory=list)
    last: list[Part] | None = None


class Loose(Model):
    """A model with a list whose items are no models."""

    words: list[Text]


class Thawed(Model):
    """A model that can be changed."""

    model_config = ConfigDict(frozen=False)

    name: Text


class Computed(Model):
    """A model with a field that isn't stored."""

    name: Text

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> str:
        return self.name * 2


class Shouted(Model):
    """A model with its own form in JSON."""

    name: Text

    @field_serializer("name")
    def _shout(self, name: str) -> str:
        return name.upper()


class BadDefault(Model):
    """A model whose default is wrong."""

    name: Annotated[Text, Field(max_length=5)] = "too long"


class Changes(Model):
    """A model for changes: its field may be left out, but has no null."""

    name: Text = optional()


class Converted(Model):
    """A model whose default would be converted."""

    count: int = 5.0  # type: ignore[assignment]


class Infinite(Model):
    """A model whose default JSON doesn't have."""

    number: float = math.inf


class Open(Model):
    """A model with any other fields."""

    model_config = ConfigDict(extra="allow")

    name: Text


class Handmade(Model):
    """A model with its own way of being made."""

    name: Text

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


class Kind(enum.Enum):
    """An Enum that fails in its own way."""

    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Kind:
        raise TypeError


class OddDefault(Model):
    """A model whose default makes its Enum fail."""

    kind: Kind = 2  # type: ignore[assignment]


class Tree(Model):
    """A model that contains itself."""

    branches: list[Tree] = Field(default_factory=list)


PART = Part(name="a", at=datetime(2026, 1, 2, tzinfo=UTC))
WRONG = Part.model_construct(name="too long")


def is_recognized(kind: Any, value: Any) -> bool:
    """Return True if ``value`` is recognized as a valid ``kind``."""
    recognize = recognizer(TypeAdapter(kind).core_schema)
    assert recognize is not None
    return recognize(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Part, PART),
        (Part, PART.model_copy()),
        (Whole, Whole(first=PART)),
        (Whole, Whole(first=PART, rest=[PART, PART], last=[PART])),
        (list[Part], [PART]),
        (list[Whole], []),
    ],
)
def test_recognized(kind: Any, value: Any) -> None:
    """A validated model is valid, and so is a list of them; both are written as validated ones."""
    assert is_recognized(kind, value)
    adapter = TypeAdapter(kind)
    validated = adapter.dump_json(adapter.validate_python(value), by_alias=True)
    assert ResultSerializer(adapter, "It").write(value) == validated


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Part, WRONG),
        (Part, PART.model_copy(update={"name": "too long"})),
        (Part, copy.deepcopy(WRONG)),
        (Part, pickle.loads(pickle.dumps(WRONG))),
        (Part, {"name": "too long"}),
        (list[Part], [PART, WRONG]),
        (list[Part], PART),
        (Whole, Whole.model_construct(first=WRONG)),
        (Whole, Whole.model_construct(first=PART, rest=[PART, WRONG])),
    ],
)
def test_not_recognized(kind: Any, value: Any) -> None:
    """A model made without validation is found out, and so is what isn't one."""
    assert not is_recognized(kind, value)
    with pytest.raises(InternalError):
        ResultSerializer(TypeAdapter(kind), "It").write(value)


def test_old_copy() -> None:
    """A copy as in pydantic 1 is validated."""
    with pytest.deprecated_call():
        changed = PART.copy(update={"name": "too long"})
    with pytest.deprecated_call():
        assert not is_recognized(Part, WRONG.copy())
    assert not is_recognized(Part, changed)


def test_changed_lists() -> None:
    """A list may have changed since its model was validated."""
    whole = Whole(first=PART, rest=[PART], last=[PART])
    for parts in (whole.rest, whole.last):
        assert parts is not None
        parts.append(WRONG)
        assert not is_recognized(Whole, whole)
        parts.pop()
        assert is_recognized(Whole, whole)


@pytest.mark.parametrize(
    "kind",
    [
        int,
        dict[str, Part],
        tuple[Part, ...],
        Part | None,
        Loose,
        list[Loose],
        Annotated[list[Part], Field(max_length=1)],
        Thawed,
        Computed,
        Shouted,
        BadDefault,
        Changes,
        Converted,
        Infinite,
        Open,
        Handmade,
        OddDefault,
        Tree,
        Annotated[Part, Field(description="a part")] | int,
    ],
)
def test_validated_again(kind: Any) -> None:
    """Anything else may change, or be written in another form."""
    assert recognizer(TypeAdapter(kind).core_schema) is None
