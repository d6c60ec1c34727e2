"""What all models share, and the types that many of their fields have.

A model is a :class:`Model` with annotated fields (https://docs.pydantic.dev/latest/concepts/models/).
The same class checks a request's body or a result, and documents it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from x121.core.types import NO_NUL, DbId

__all__ = ["Id", "Model", "Text", "Timestamp", "optional"]


_RFC_3339 = re.compile(  # section 5.6
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Model(BaseModel):
    """An immutable value with checked fields.

    A field that it doesn't have is an error, so that a misspelled one isn't lost.  A model that
    is part of another, or a handler's result, is checked again, however it was made.  What was
    wrong never stands in the text of an error, which may be logged.
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


def optional() -> Any:
    """Return the default of a field that may be left out, but isn't null.

    Whether it was sent, ``model_fields_set`` tells; ``model_dump(exclude_unset=True)`` has only
    those that were.  For changes that are sent to us, as in ``PATCH``; a result has all its fields.
    """
    return Field(default_factory=_nothing)  # so that no default stands in its JSON Schema


def _nothing() -> None: ...


def _read_moment(value: object) -> datetime:
    """Return a moment in UTC.  pydantic's own would also take numbers, as text too, for one."""
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            value = datetime.fromisoformat(value.upper())
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no such day, or one before the first or after the last year
    raise PydanticCustomError("timestamp", "This is not a time such as 2026-01-02T03:04:05Z")


Text = Annotated[str, Field(pattern=NO_NUL)]
"""Text that PostgreSQL can hold; lengths are counted in characters, as there."""

Id = Annotated[DbId, Field(ge=1, le=2**63 - 1)]
"""The key of a row, which a ``BIGINT`` identity can be."""


class _Moment:
    """Annotates a ``datetime`` that is read in our way, and written in pydantic's."""

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_moment)


Timestamp = Annotated[
    datetime,
    _Moment(),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment: PostgreSQL's ``timestamptz``, in JSON RFC 3339 in UTC, with ``Z``."""
