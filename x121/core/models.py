"""Base class of models, and common types of their fields.

A model is a :class:`Model` with annotated fields (https://docs.pydantic.dev/latest/concepts/models/).
The same class validates a request's body or a result, and documents it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from x121.core.types import NO_NUL, DbId

__all__ = ["Id", "Model", "Text", "Timestamp", "is_moment", "optional"]


_RFC_3339 = re.compile(  # section 5.6
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Model(BaseModel):
    """An immutable value with validated fields.

    An unknown field is an error, so that a misspelled one isn't lost.  A model inside another
    is validated again, as is a handler's result unless it can't have changed since it was made.
    The text of an error, which may be logged, never contains the invalid value.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        revalidate_instances="always",
        allow_inf_nan=False,  # JSON has neither
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        ser_json_inf_nan="null",
    )

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Return an instance that isn't validated, and is marked so: it is validated when sent."""
        return _mark(super().model_construct(_fields_set, **values))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; one with an ``update`` isn't validated, and is marked so."""
        copy = super().model_copy(update=update, deep=deep)
        return _mark(copy) if update else copy

    def copy(self, **options: Any) -> Self:
        """Return a copy, as in pydantic 1; it isn't validated, and is marked so."""
        return _mark(super().copy(**options))


class _Unvalidated(set[str]):
    """Fields that are set in a model that isn't validated."""


M = TypeVar("M", bound=Model)


def _mark(model: M) -> M:
    object.__setattr__(model, "__pydantic_fields_set__", _Unvalidated(model.model_fields_set))
    return model


def optional() -> Any:
    """Return the default of a field that may be omitted, but isn't null.

    ``model_fields_set`` has the names of the fields that were sent, and
    ``model_dump(exclude_unset=True)`` their values.  Use it for changes, as in ``PATCH``; a result
    has all its fields.
    """
    return Field(default_factory=_nothing)  # keeps the default out of the JSON Schema


def _nothing() -> None: ...


def _read_moment(value: object) -> datetime:
    """Return a time in UTC.  pydantic would also accept numbers, even as text."""
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            value = datetime.fromisoformat(value.upper())
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no such day, or a year out of range
    raise PydanticCustomError("timestamp", "This is not a time such as 2026-01-02T03:04:05Z")


Text = Annotated[str, Field(pattern=NO_NUL)]
"""Text that PostgreSQL can store; lengths are in characters, as in PostgreSQL."""

Id = Annotated[DbId, Field(ge=1, le=2**63 - 1)]
"""The key of a row, in the range of a ``BIGINT`` identity."""


def is_moment(schema: Mapping[str, Any]) -> bool:
    """Return True for pydantic's schema of a :data:`Timestamp`."""
    function: Any = schema.get("function")
    return schema["type"] == "function-plain" and function["function"] is _read_moment


class _Moment:
    """Annotates a ``datetime`` that is parsed as RFC 3339, and serialized by pydantic."""

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_moment)


Timestamp = Annotated[
    datetime,
    _Moment(),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time: ``timestamptz`` in PostgreSQL, in JSON RFC 3339 in UTC, with ``Z``."""
