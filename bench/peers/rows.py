"""The database of the peers: a pool of asyncpg, as large as x121's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

__all__ = ["open_pool", "title_of"]

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


async def title_of(pool: asyncpg.Pool, row_id: int) -> Any:
    """Return the title of a row, or None."""
    return await pool.fetchval("SELECT title FROM bench_rows WHERE id = $1", row_id)
