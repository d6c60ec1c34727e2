"""Validation errors of input, as responses list them, and validation of results."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from x121.core.coroutines import unawaited
from x121.core.types import NO_NUL
from x121.core.valid_values import recognizer
from x121.errors import FieldError, InternalError

__all__ = ["ResultSerializer", "field_errors"]

T = TypeVar("T")

# Limits of an error response, however many errors the input has.
_MAX_ERRORS = 100
_MAX_PATH = 200

_MESSAGES = {
    "extra_forbidden": "There is no such field",
    "missing": "This field is required",
}
_PATTERNS = {NO_NUL: "Text can't hold a NUL character"}

# Types without parts: after validation, nothing in them can be wrong.
_WITHOUT_PARTS = frozenset(("bool", "float", "int", "literal", "none", "str"))


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return every invalid field of ``error``, with a path such as ``items[2].name``.

    The path of the whole input is empty.  No message repeats the input.  For more than a hundred
    invalid fields, one message has their number.
    """
    count = error.error_count()
    if count > _MAX_ERRORS:
        return [FieldError(path="", message=f"{count} fields are wrong, too many to list")]
    return [
        FieldError(path=_path(details["loc"]), message=_message(details))
        for details in error.errors(include_url=False, include_input=False)
    ]


def _message(error: ErrorDetails) -> str:
    """Return the message, in words without Python's terms and, if possible, without patterns."""
    pattern = error.get("ctx", {}).get("pattern", "")
    return _PATTERNS.get(pattern) or _MESSAGES.get(error["type"], error["msg"])


def _line(error: FieldError) -> str:
    return f"{error['path']}: {error['message']}" if error["path"] else error["message"]


def _path(steps: tuple[int | str, ...]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path if len(path) <= _MAX_PATH else path[:_MAX_PATH] + "..."


class ResultSerializer(Generic[T]):
    """Serializes values of one type as JSON; ``what`` is their name in the log, as a subject."""

    def __init__(self, adapter: TypeAdapter[T], what: str) -> None:
        self._what = what
        self._is_valid = recognizer(adapter.core_schema)
        self._validate = adapter.validator.validate_python
        self._to_json = adapter.serializer.to_json
        # Detecting errors takes as long as encoding; parts may have changed since validation.
        is_plain = adapter.core_schema["type"] in _WITHOUT_PARTS
        self._warnings: Literal["error", False] = False if is_plain else "error"

    def write(self, value: T) -> bytes:
        """Return ``value`` as JSON.

        Raises :class:`InternalError`, without any of the data in it, if it doesn't match its type.
        """
        try:
            if self._is_valid is not None and self._is_valid(value):
                return self._to_json(value, by_alias=True, warnings=False)
            # Models with aliases are validated by their names in Python, and sent with the aliases.
            valid = self._validate(value, by_alias=True, by_name=True)
            return self._to_json(valid, by_alias=True, warnings=self._warnings)
        except ValidationError as error:
            reason = "is not valid: " + "; ".join(map(_line, field_errors(error)))
        except PydanticSerializationError:  # its text may contain a value
            reason = "can't be sent: a part of it doesn't match its type, or isn't Unicode"
        mistake = unawaited(value)
        raise InternalError(f"{self._what} {f'is {mistake}' if mistake else reason}")
