"""Runs blocking work in a thread, with support for cancellation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(
    reactor: Any,
    function: Callable[..., T],
    *args: Any,
    on_cancel: Callable[[], None] | None = None,
) -> T:
    """Return the result of ``function(*args)``, called in a thread of the reactor's pool.

    A thread can't be stopped. When this coroutine is cancelled, it calls ``on_cancel``, which may
    make the work end sooner, and raises CancelledError once the work has ended. The caller can then
    clean up everything that the work created.
    """
    result: Deferred[T] = Deferred()
    ended: Deferred[None] = Deferred()

    def finish(outcome: Any) -> None:
        if not result.called:
            result.callback(outcome)  # a Failure goes to the errbacks
        ended.callback(None)

    deferToThreadPool(reactor, reactor.getThreadPool(), function, *args).addBoth(finish)
    try:
        return await result
    except CancelledError:
        if on_cancel is not None:
            on_cancel()
        await ended
        raise
