"""Validation errors of input, as responses list them, and validation of results."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from x121.core.coroutines import unawaited
from x121.core.types import NO_NUL
from x121.errors import FieldError, InternalError

__all__ = ["NO_SCHEMAS", "ResultSerializer", "field_errors"]

T = TypeVar("T")

# Limits of an error response, however many errors the input has.
_MAX_ERRORS = 100
_MAX_PATH = 200

_MESSAGES = {
    "extra_forbidden": "There is no such field",
    "missing": "This field is required",
}
_PATTERNS = {NO_NUL: "Text can't hold a NUL character"}

# Types whose values can't be wrong after validation, if their parts can't.
_SOUND_TYPES = frozenset(
    (
        *("bool", "date", "datetime", "decimal", "definitions", "definition-ref", "default"),
        *("dict", "enum", "float", "function-plain", "int", "list", "literal", "model"),
        *(
            "model-field",
            "model-fields",
            "none",
            "nullable",
            "str",
            "time",
            "timedelta",
            "tuple",
            "uuid",
        ),
    )
)
NO_SCHEMAS = frozenset(("cls", "default", "expected", "members", "metadata", "serialization"))
"""Parts of a schema of pydantic's that contain no schemas, but arbitrary values."""


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
        # Detecting errors takes longer than encoding.
        warnings: Literal["error", False] = False if _is_sound(adapter.core_schema) else "error"
        # Models with aliases are validated by their names in Python, and sent with the aliases.
        self._check = partial(adapter.validator.validate_python, by_alias=True, by_name=True)
        self._encode = partial(adapter.serializer.to_json, by_alias=True, warnings=warnings)

    def write(self, value: T) -> bytes:
        """Return ``value`` as JSON.

        Raises :class:`InternalError`, without any of the data in it, if it doesn't match its type.
        """
        try:
            return self._encode(self._check(value))
        except ValidationError as error:
            reason = "is not valid: " + "; ".join(map(_line, field_errors(error)))
        except PydanticSerializationError:  # its text may contain a value
            reason = "can't be sent: a part of it doesn't match its type, or isn't Unicode"
        mistake = unawaited(value)
        raise InternalError(f"{self._what} {f'is {mistake}' if mistake else reason}")


def _is_sound(schema: Any) -> bool:
    """Return True if validation leaves nothing to find out: it validates every part again.

    Functions around a schema may return anything, and some models aren't validated again.  The
    serializer has no type to compare with the result of a plain function.
    """
    if isinstance(schema, list):
        return all(map(_is_sound, schema))
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in _SOUND_TYPES:
        return False
    if "serialization" in schema:
        return False
    if kind == "model" and schema["config"].get("revalidate_instances") != "always":
        return False
    return all(_is_sound(part) for key, part in schema.items() if key not in NO_SCHEMAS)
