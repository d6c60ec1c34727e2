"""The types of what messages carry: checked when it comes, encoded when it goes.

What comes is written as JSON once more and checked as that, strictly.  As a Python value it could
not be: a date is text in JSON, which is wrong for a strict ``datetime`` in Python, and what is
not strict takes ``"7"`` for a number.  It costs less than a microsecond for a small message.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from x121 import jsons
from x121.errors import BadRequest, InternalError
from x121.validation import field_errors

__all__ = ["DataType"]

T = TypeVar("T")

# What has no parts, so that nothing in it can be wrong once it is checked.
_WITHOUT_PARTS = frozenset(("bool", "float", "int", "literal", "none", "str"))


class DataType(Generic[T]):
    """What some data has to be: a :class:`~x121.models.base.Model`, or what pydantic knows.

    ``what`` names the data, as a subject in the log.  ``adapter`` is pydantic's, and
    ``is_optional`` whether the data may be left out, which is as good as null.  Raises
    :class:`TypeError` for a type that pydantic can't check.
    """

    def __init__(self, kind: Any, what: str) -> None:
        try:
            self.adapter: TypeAdapter[T] = TypeAdapter(kind)
            is_complete = self.adapter.pydantic_complete and bool(self.adapter.json_schema())
        except (PydanticUserError, NameError):
            is_complete = False
        if not is_complete:
            raise TypeError(
                f"{what} can't be checked as {kind!r}: it has to be a Model, or another type that"
                " pydantic knows, with all that it names defined above it"
            )
        self._what = what
        self._check_json = self.adapter.validator.validate_json
        self._check = self.adapter.validator.validate_python
        self._encode = self.adapter.serializer.to_json
        # To be told of faults costs as much as to encode; parts may have changed since their check.
        is_plain = self.adapter.core_schema["type"] in _WITHOUT_PARTS
        self._warnings: Literal["error", False] = False if is_plain else "error"
        self.is_optional = self.takes(None)

    def takes(self, data: Any) -> bool:
        """Return whether ``data``, which is JSON's, is of this type."""
        try:
            self._check_json(jsons.encode(data), strict=True)
        except ValidationError:
            return False
        return True

    def read(self, data: Any) -> T:
        """Return ``data``, which came as JSON, as what it is to be.

        Raises :class:`BadRequest`, whose ``details`` are all the fields that are wrong.
        """
        try:
            value: T = self._check_json(jsons.encode(data), strict=True)
        except ValidationError as error:
            details = field_errors(error)
            raise BadRequest("The message's data is not valid", details=details) from None
        return value

    def write(self, value: T) -> bytes:
        """Return ``value`` as JSON.  Raises :class:`InternalError` if it isn't of this type."""
        try:
            # What has aliases is checked again by the names that it has in Python.
            value = self._check(value, by_alias=True, by_name=True)
            return self._encode(value, by_alias=True, warnings=self._warnings)
        except ValidationError as error:
            wrong = "; ".join(f"{one['path']}: {one['message']}" for one in field_errors(error))
            raise InternalError(f"{self._what} is not valid: {wrong}") from None
        except PydanticSerializationError:  # its text may show a value
            reason = "a part of it is not of its type, or no Unicode"
            raise InternalError(f"{self._what} can't be sent: {reason}") from None
