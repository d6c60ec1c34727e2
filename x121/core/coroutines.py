"""Runs coroutines at the cost of a function call, until one has to wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, NotACoroutineError

__all__ = ["run_eagerly", "unawaited"]

T = TypeVar("T")

_UNAWAITED: tuple[tuple[Any, str], ...] = (
    (Coroutine, "a coroutine: write await before the call that returned it"),
    (Deferred, "a Deferred: write await before the call that returned it"),
    (AsyncGenerator, "an async generator: return [item async for item in ...]"),
    (Generator, "a generator: return list(...), or decorate the function with inlineCallbacks"),
)


def run_eagerly(
    coroutine: Coroutine[Deferred[Any], Any, T], context: Context | None = None
) -> T | Deferred[T]:
    """Return the result of ``coroutine`` if it doesn't wait, else a Deferred of the result.

    An exception is raised if the coroutine hasn't waited; otherwise it fails the Deferred.
    Everything else is like ``Deferred.fromCoroutine``, which takes three times as long if the
    coroutine doesn't wait: it runs in a copy of the caller's context, or in ``context``, and
    cancelling the Deferred cancels the one that it waits for.

    Raises :class:`NotACoroutineError` if ``coroutine`` isn't one.
    """
    if type(coroutine) is not CoroutineType and not isinstance(coroutine, Coroutine):
        raise NotACoroutineError(f"{coroutine!r} is not a coroutine")
    context = copy_context() if context is None else context
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as end:
        value: T = end.value
        return value
    return Deferred.fromCoroutine(_Started(coroutine, awaited, context))


def unawaited(value: object) -> str:
    """Return the mistake behind an unawaited value, and its fix; "" for any other value.

    A coroutine is closed, so that Python doesn't also warn about it.
    """
    for kind, mistake in _UNAWAITED:
        if isinstance(value, kind):
            if isinstance(value, Coroutine):
                value.close()
            return mistake
    return ""


class _Started(Coroutine[Any, Any, Any]):
    """A coroutine that has run its first step, and waits for ``awaited``.

    A generator that delegates to the coroutine would also work, but would appear in the tracebacks
    of exceptions that are thrown into it.
    """

    __slots__ = ("_awaited", "_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any, context: Context) -> None:
        self._coroutine = coroutine
        self._awaited = [awaited]
        self._context = context

    def send(self, value: Any) -> Any:
        """Return the first awaited value; after that, resume the coroutine with ``value``."""
        if self._awaited:
            return self._awaited.pop()
        return self._context.run(self._coroutine.send, value)

    def throw(self, error: Any, *_: object) -> Any:
        """Resume the coroutine with an exception."""
        return self._context.run(self._coroutine.throw, error)

    def close(self) -> None:
        """Close the coroutine."""
        self._context.run(self._coroutine.close)

    def __await__(self) -> Any:
        """Raise :class:`TypeError`: only Twisted uses this object."""
        raise TypeError("a coroutine that has started can't be awaited")
