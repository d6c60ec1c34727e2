"""``x121 migrate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.task import react

from x121.commands.base import Command, log_to_standard_error, say
from x121.commands.database import running_database
from x121.config import DbConfig
from x121.db.embedded import EmbeddedPostgresError
from x121.db.migrations import Migration, MigrationError, migrate, status

if TYPE_CHECKING:
    from x121.application import Application

__all__ = ["Migrate"]


class Migrate(Command):
    """``x121 migrate``: apply migrations, or tell which are."""

    longdesc = "Applies the pending migrations, as the server does when it starts."
    optFlags = [  # noqa: RUF012
        ["status", None, "Print the state of every migration and change nothing"],
        ["dry-run", None, "Print what would be applied and change nothing"],
    ]

    def run(self) -> int:
        """Do it on a reactor of its own; exit code 1 when a migration is wrong or fails."""
        application, loaded = self.load()
        log_to_standard_error(loaded)
        react(self._work, (loaded.config.db, application))

    async def _work(self, reactor: Any, db: DbConfig, application: Application) -> None:
        try:
            async with running_database(db, reactor) as running:
                await self._migrate(reactor, running, application.read_migrations())
        except (MigrationError, EmbeddedPostgresError) as error:
            raise SystemExit(f"x121: {error}") from None

    async def _migrate(self, reactor: Any, db: DbConfig, migrations: Sequence[Migration]) -> None:
        if not (self["status"] or self["dry-run"]):
            await migrate(db, migrations, reactor=reactor)
            return
        states = await status(db, migrations, reactor=reactor)
        if self["dry-run"] and all(state.state == "applied" for state in states):
            say("nothing to apply")
        for state in states:
            if self["dry-run"] and state.state == "applied":
                continue
            when = f"{state.applied_at:%Y-%m-%d %H:%M:%S %Z}" if state.applied_at else ""
            say(f"{state.file_name:40}{state.state:10}{when}".rstrip())
        if any(state.state in ("edited", "missing") for state in states):
            raise SystemExit("x121: the server will not start on this database")
