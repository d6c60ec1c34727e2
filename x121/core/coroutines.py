"""Coroutines at the price of a call, until one of them has to wait."""

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


def run_eagerly(coroutine: Coroutine[Deferred[Any], Any, T]) -> T | Deferred[T]:
    """Return what ``coroutine`` returns, at once if it never waits, else a Deferred of it.

    Raises what a coroutine that never waits raises; one that has waited fails its Deferred.
    All else is as with ``Deferred.fromCoroutine``, which costs three times as much where there is
    nothing to wait for: the coroutine runs in a context of its own, a copy of the caller's,
    and to cancel the Deferred is to cancel what it waits for.

    Raises :class:`NotACoroutineError` for what is none.
    """
    if type(coroutine) is not CoroutineType and not isinstance(coroutine, Coroutine):
        raise NotACoroutineError(f"{coroutine!r} is not a coroutine")
    context = copy_context()
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as end:
        value: T = end.value
        return value
    return Deferred.fromCoroutine(_Started(coroutine, awaited, context))


def unawaited(value: object) -> str:
    """Return the mistake behind a value that has yet to run, and its remedy; "" for any other.

    A coroutine is closed, so that Python doesn't warn of it, too.
    """
    for kind, mistake in _UNAWAITED:
        if isinstance(value, kind):
            if isinstance(value, Coroutine):
                value.close()
            return mistake
    return ""


class _Started(Coroutine[Any, Any, Any]):
    """A coroutine that has taken its first step: it waits for ``awaited``.

    A generator that delegates to it would do as well, but stand between the coroutine and
    the exceptions that are thrown into it: in their tracebacks, and in what is raised later.
    """

    __slots__ = ("_awaited", "_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any, context: Context) -> None:
        self._coroutine = coroutine
        self._awaited = [awaited]
        self._context = context

    def send(self, value: Any) -> Any:
        """Return what the coroutine waits for first; after that, let it go on."""
        if self._awaited:
            return self._awaited.pop()
        return self._context.run(self._coroutine.send, value)

    def throw(self, error: Any, *_: object) -> Any:
        """Let the coroutine go on with an exception."""
        return self._context.run(self._coroutine.throw, error)

    def close(self) -> None:
        """End the coroutine where it waits."""
        self._context.run(self._coroutine.close)

    def __await__(self) -> Any:
        """Raise :class:`TypeError`: Twisted holds this and nobody else."""
        raise TypeError("a coroutine that has started can't be awaited")
