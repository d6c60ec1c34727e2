"""What is wrong with input that doesn't fit its model, in the contract's form."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from x121.errors import FieldError
from x121.types import NO_NUL

__all__ = ["field_errors"]

# What a client can make us say to it is bounded, however much of what it sent is wrong.
_MOST_ERRORS = 1000
_LONGEST_PATH = 200

_MESSAGES = {
    "extra_forbidden": "There is no such field",
    "missing": "This field is required",
}
_PATTERNS = {NO_NUL: "Text can't hold a NUL character"}


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return every wrong field of ``error``, with a path such as ``items[2].name``.

    The path of the whole is empty.  No message repeats what was sent.  Where more than a thousand
    fields are wrong, one message says how many.
    """
    count = error.error_count()
    if count > _MOST_ERRORS:
        return [FieldError(path="", message=f"{count} fields are wrong, too many to list")]
    return [
        FieldError(path=_path(one["loc"]), message=_message(one))
        for one in error.errors(include_url=False, include_input=False)
    ]


def _message(error: ErrorDetails) -> str:
    """Return what is wrong in words that don't speak of Python, or of patterns if need not be."""
    pattern = error.get("ctx", {}).get("pattern", "")
    return _PATTERNS.get(pattern) or _MESSAGES.get(error["type"], error["msg"])


def _path(steps: tuple[int | str, ...]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "..."
