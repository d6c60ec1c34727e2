"""The database of a command, which runs no longer than the command if it is embedded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from x121.config import DbConfig
from x121.db.embedded import EmbeddedPostgres

__all__ = ["running_database"]


@asynccontextmanager
async def running_database(db: DbConfig, reactor: Any) -> AsyncIterator[DbConfig]:
    """Give the configuration of a database that runs: ``db``'s, or the embedded one.

    Raises :class:`~x121.db.embedded.EmbeddedPostgresError`.
    """
    if db.host:
        yield db
        return
    embedded = EmbeddedPostgres(db, reactor=reactor)
    try:
        yield await embedded.start()
    finally:
        await embedded.stop()
