"""What a handler's signature and docstring say, whether it answers requests or messages."""

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
"""What a result may be promised in, as its last argument."""


class DocParts(NamedTuple):
    """A docstring: its first paragraph as one line, and the rest."""

    summary: str
    description: str


def parse_docstring(doc: str | None) -> DocParts:
    """Return what a docstring tells; nothing, if there is none."""
    summary, _, description = (doc or "").partition("\n\n")
    return DocParts(" ".join(summary.split()), description.strip())


def type_hints(handler: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of what ``handler`` takes and, as ``return``, gives, as far as it tells.

    Raises :class:`TypeError` for one that can't be found, and for an async generator.
    """
    if inspect.isasyncgenfunction(handler):
        raise signature_error(handler, "it is an async generator: return a list of what it yields")
    if not hasattr(handler, "__annotations__"):
        return {}
    try:
        return get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise signature_error(
            handler, f"{error}: import or define what it names above it"
        ) from None


def parameters_of(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return what ``handler`` is to be given, without the instance that it is a method of."""
    found = list(inspect.signature(handler).parameters.values())
    return found[1:] if found and found[0].name == "self" else found


def unwrap(hint: Any, *wrappers: Any) -> Any:
    """Return what there is in the end, of a type that may be awaited or in one of ``wrappers``."""
    while get_origin(hint) in (*AWAITABLES, *wrappers):
        hint = get_args(hint)[-1]
    return hint


def qualified_name(handler: Callable[..., Any]) -> str:
    """Return the name that ``handler`` is known by in messages."""
    qualname = getattr(handler, "__qualname__", repr(handler))
    return f"{getattr(handler, '__module__', '')}.{qualname}".lstrip(".")


def signature_error(handler: Callable[..., Any], why: str) -> TypeError:
    """Return the error for a signature that can't be understood."""
    return TypeError(f"{qualified_name(handler)}: {why}")
