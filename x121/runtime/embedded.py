"""The embedded PostgreSQL as a component: imported only by servers that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from x121.runtime.components import DatabaseServer
from x121.runtime.lifecycle import Budget

__all__ = ["EmbeddedDatabase"]

_log = Logger(namespace="x121.runtime.embedded")


class EmbeddedDatabase(DatabaseServer):
    """The embedded PostgreSQL, which runs while this process does."""

    name = "the embedded PostgreSQL"
    expected_errors = (EmbeddedPostgresError,)

    def __init__(
        self, config: DbConfig, *, reactor: Any, on_progress: Callable[[str], object]
    ) -> None:
        super().__init__(config)
        self._postgres = EmbeddedPostgres(config, reactor=reactor)
        self._on_progress = on_progress

    async def start(self) -> None:
        """Start PostgreSQL; ``config`` then says how to connect to it."""
        _log.info("Starting the embedded PostgreSQL in {path}", path=str(self.config.data_dir))
        self._on_progress("Starting the embedded PostgreSQL")
        self.config = await self._postgres.start()

    async def drain(self, budget: Budget) -> None:
        """Don't start a PostgreSQL again that ends from now on."""
        self._postgres.stop_watching()

    async def stop(self, budget: Budget) -> None:
        """Stop PostgreSQL, or have it stop by itself where there is no time to wait for it."""
        if not await budget.run(ensureDeferred(self._postgres.stop())):
            self.interrupt()

    def interrupt(self) -> None:
        """Have PostgreSQL stop by itself."""
        self._postgres.interrupt()
