"""What doesn't fit its type: input, in the contract's form, and what we would send ourselves."""

from __future__ import annotations

from functools import partial
from typing import Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from x121.core.coroutines import unawaited
from x121.core.types import NO_NUL
from x121.errors import FieldError, InternalError

__all__ = ["ResultSerializer", "field_errors"]

T = TypeVar("T")

# What a client can make us say to it is bounded, however much of what it sent is wrong.
_MAX_ERRORS = 100
_MAX_PATH = 200

_MESSAGES = {
    "extra_forbidden": "There is no such field",
    "missing": "This field is required",
}
_PATTERNS = {NO_NUL: "Text can't hold a NUL character"}

# What has no parts, so that nothing in it can be wrong once it is checked.
_WITHOUT_PARTS = frozenset(("bool", "float", "int", "literal", "none", "str"))


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return every wrong field of ``error``, with a path such as ``items[2].name``.

    The path of the whole is empty.  No message repeats what was sent.  Where more than a hundred
    fields are wrong, one message says how many.
    """
    count = error.error_count()
    if count > _MAX_ERRORS:
        return [FieldError(path="", message=f"{count} fields are wrong, too many to list")]
    return [
        FieldError(path=_path(one["loc"]), message=_message(one))
        for one in error.errors(include_url=False, include_input=False)
    ]


def _message(error: ErrorDetails) -> str:
    """Return what is wrong in words that don't speak of Python, or of patterns if need not be."""
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
    """Writes values of one type as JSON; ``what`` names them in the log, as a subject."""

    def __init__(self, adapter: TypeAdapter[T], what: str) -> None:
        self._what = what
        # To be told of faults costs as much as to encode; parts may have changed since their check.
        is_plain = adapter.core_schema["type"] in _WITHOUT_PARTS
        warnings: Literal["error", False] = False if is_plain else "error"
        # What has aliases is checked again by the names that it has in Python, and sent by others.
        self._check = partial(adapter.validator.validate_python, by_alias=True, by_name=True)
        self._encode = partial(adapter.serializer.to_json, by_alias=True, warnings=warnings)

    def write(self, value: T) -> bytes:
        """Return ``value`` as JSON.

        Raises :class:`InternalError`, without any of the data in it, if it isn't of its type.
        """
        try:
            return self._encode(self._check(value))
        except ValidationError as error:
            reason = "is not valid: " + "; ".join(map(_line, field_errors(error)))
        except PydanticSerializationError:  # its text may show a value
            reason = "can't be sent: a part of it is not of its type, or no Unicode"
        mistake = unawaited(value)
        raise InternalError(f"{self._what} {f'is {mistake}' if mistake else reason}")
