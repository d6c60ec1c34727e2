"""Signatures and docstrings of handlers, for requests and for messages."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from twisted.internet.defer import Deferred

__all__ = [
    "AWAITABLES",
    "DocParts",
    "parameters_of",
    "parse_docstring",
    "qualified_name",
    "signature_error",
    "type_hints",
    "unwrap",
]

AWAITABLES = (Deferred, Awaitable, Coroutine)
"""The generic types of awaitable results; the result's type is their last argument."""


class DocParts(NamedTuple):
    """A docstring: its first paragraph as one line, and the rest."""

    summary: str
    description: str


def parse_docstring(doc: str | None) -> DocParts:
    """Return the parts of a docstring; they are empty if there is none."""
    summary, _, description = (doc or "").partition("\n\n")
    return DocParts(" ".join(summary.split()), description.strip())


def type_hints(handler: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of ``handler``: by parameter, and of the result as ``return``.

    Raises :class:`TypeError` for an undefined name, and for an async generator.
    """
    if inspect.isasyncgenfunction(handler):
        raise signature_error(handler, "it is an async generator: return a list of what it yields")
    if not hasattr(handler, "__annotations__"):
        return {}
    try:
        return get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise signature_error(handler, f"{error}: import or define it before the handler") from None


def parameters_of(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of ``handler``, without ``self``."""
    parameters = list(inspect.signature(handler).parameters.values())
    return parameters[1:] if parameters and parameters[0].name == "self" else parameters


def unwrap(hint: Any, *wrappers: Any) -> Any:
    """Return the innermost type of ``hint``, inside awaitables and ``wrappers``."""
    while get_origin(hint) in (*AWAITABLES, *wrappers):
        hint = get_args(hint)[-1]
    return hint


def qualified_name(handler: Callable[..., Any]) -> str:
    """Return the name of ``handler`` for messages, with its module."""
    qualname = getattr(handler, "__qualname__", repr(handler))
    return f"{getattr(handler, '__module__', '')}.{qualname}".lstrip(".")


def signature_error(handler: Callable[..., Any], why: str) -> TypeError:
    """Return the error for an invalid signature."""
    return TypeError(f"{qualified_name(handler)}: {why}")
