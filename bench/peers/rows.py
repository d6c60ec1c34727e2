"""The database of the peers: a pool of asyncpg, as large as x121's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

__all__ = ["find_row", "open_pool"]

_POOL_MIN, _POOL_MAX = 2, 10


@asynccontextmanager
async def open_pool() -> AsyncIterator[asyncpg.Pool]:
    """Open a pool on the database that ``DATABASE_URL`` names, and close it in the end."""
    pool = asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=_POOL_MIN, max_size=_POOL_MAX, reset=_keep
    )
    async with pool:
        yield pool


async def _keep(_: object) -> None:
    """Leave the session as it is, as x121 does: to reset it costs a round trip each time."""


async def find_row(pool: asyncpg.Pool, row_id: int) -> asyncpg.Record | None:
    """Return a row, or None if there is none."""
    return await pool.fetchrow("SELECT id, title FROM bench_rows WHERE id = $1", row_id)
