"""What all models share, and the types that many of their fields have.

A model is a :class:`Model` with annotated fields (https://docs.pydantic.dev/latest/concepts/models/).
The same class checks a request's body or a result, and documents it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from x121.types import NO_NUL, DbId

__all__ = ["Id", "Model", "Text", "Timestamp", "optional"]


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
    those that were.  For changes, as in ``PATCH``.
    """
    return Field(default_factory=_nothing)  # so that no default stands in its JSON Schema


def _nothing() -> None: ...


def _to_utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


Text = Annotated[str, Field(pattern=NO_NUL)]
"""Text that PostgreSQL can hold; lengths are counted in characters, as there."""

Id = Annotated[DbId, Field(ge=1, le=2**63 - 1)]
"""The key of a row, which a ``BIGINT`` identity can be."""

Timestamp = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A moment: PostgreSQL's ``timestamptz``, in JSON RFC 3339 in UTC, with ``Z``."""
