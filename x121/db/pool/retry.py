"""Transactions that run again after a conflict with a concurrent one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import TypeVar

import psycopg2
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from x121.db.pool.session import Session
from x121.errors.sqlstates import is_retriable

__all__ = ["retry"]

T = TypeVar("T")

_FIRST_DELAY_SECS = 0.01
_MAX_DELAY_SECS = 0.5


async def retry(
    work: Callable[[Session], Awaitable[T]],
    *,
    transaction: Callable[[], AbstractAsyncContextManager[Session]],
    attempts: int,
    clock: IReactorTime,
    rng: Random,
) -> T:
    """Return the result of ``work`` from the first ``transaction`` that is committed.

    No connection is held between attempts. The delay doubles each time and is randomised by
    ``rng``, so that transactions that conflicted once don't conflict again.
    """
    for attempt in range(attempts - 1):
        try:
            return await _run(work, transaction)
        except psycopg2.Error as error:
            if not is_retriable(error.pgcode):
                raise
        delay = min(_MAX_DELAY_SECS, _FIRST_DELAY_SECS * 2.0**attempt)
        await deferLater(clock, delay * rng.uniform(0.5, 1.5))
    return await _run(work, transaction)


async def _run(
    work: Callable[[Session], Awaitable[T]],
    transaction: Callable[[], AbstractAsyncContextManager[Session]],
) -> T:
    async with transaction() as session:
        return await work(session)
