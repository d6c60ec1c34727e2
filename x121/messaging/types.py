"""Types of messages' data: incoming data is checked against them, outgoing data encoded.

Incoming data is encoded as JSON again and checked in that form, strictly.  Checking the Python
value doesn't work: a date is text in JSON, which strict mode rejects for a ``datetime`` in Python,
and lax mode accepts ``"7"`` as a number.  It costs less than a microsecond for a small message.
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
    """Type of some data: a :class:`~x121.core.models.Model`, or another type of pydantic's.

    ``kind`` is that type, and ``what`` names the data in log messages.  ``is_optional`` is True if
    the data may be left out, which means null.  Raises :class:`TypeError` for a type that pydantic
    can't check.
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
                f"{what} can't be checked as {kind!r}: expected a Model, or another type that"
                " pydantic supports, with every type that it names defined above it"
            )
        self._check_json = adapter.validator.validate_json
        self._writer = ResultSerializer(adapter, what)
        self.is_optional = self.takes(None)

    def takes(self, data: Any) -> bool:
        """Return True if ``data``, a JSON value, is of this type."""
        try:
            self._check_json(json_encoding.encode(data), strict=True)
        except ValidationError:
            return False
        return True

    def read(self, data: Any) -> T:
        """Return ``data``, a JSON value, as a value of this type.

        Raises :class:`BadRequest`, whose ``details`` are all the invalid fields.
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
