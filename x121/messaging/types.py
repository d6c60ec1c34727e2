"""The types of what messages carry: checked when it comes, encoded when it goes.

What comes is written as JSON once more and checked as that, strictly.  As a Python value it could
not be: a date is text in JSON, which is wrong for a strict ``datetime`` in Python, and what is
not strict takes ``"7"`` for a number.  It costs less than a microsecond for a small message.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from x121.core import json_encoding
from x121.core.validation import ResultSerializer, field_errors
from x121.errors import BadRequest

__all__ = ["DataType"]

T = TypeVar("T")


class DataType(Generic[T]):
    """What some data has to be: a :class:`~x121.core.models.Model`, or what pydantic knows.

    ``kind`` is that type, and ``what`` names the data, as a subject in the log.  ``is_optional``
    tells whether the data may be left out, which is as good as null.  Raises :class:`TypeError`
    for a type that pydantic can't check.
    """

    def __init__(self, kind: Any, what: str) -> None:
        self.kind = kind
        self.what = what
        try:
            adapter: TypeAdapter[T] = TypeAdapter(kind)
            is_complete = adapter.pydantic_complete and bool(adapter.json_schema())
        except (PydanticUserError, NameError):
            is_complete = False
        if not is_complete:
            raise TypeError(
                f"{what} can't be checked as {kind!r}: it has to be a Model, or another type that"
                " pydantic knows, with all that it names defined above it"
            )
        self._check_json = adapter.validator.validate_json
        self._writer = ResultSerializer(adapter, what)
        self.is_optional = self.takes(None)

    def takes(self, data: Any) -> bool:
        """Return whether ``data``, which is JSON's, is of this type."""
        try:
            self._check_json(json_encoding.encode(data), strict=True)
        except ValidationError:
            return False
        return True

    def read(self, data: Any) -> T:
        """Return ``data``, which came as JSON, as what it is to be.

        Raises :class:`BadRequest`, whose ``details`` are all the fields that are wrong.
        """
        try:
            value: T = self._check_json(json_encoding.encode(data), strict=True)
        except ValidationError as error:
            details = field_errors(error)
            raise BadRequest("The message's data is not valid", details=details) from None
        return value

    def write(self, value: T) -> bytes:
        """Return ``value`` as JSON.

        Raises :class:`~x121.errors.InternalError` if it isn't of this type.
        """
        return self._writer.write(value)
