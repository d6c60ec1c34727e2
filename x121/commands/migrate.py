"""Command ``x121 migrate``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from x121.commands.base import Command, log_to_standard_error, say
from x121.commands.database import run_with_database
from x121.config import DbConfig
from x121.db.migrations import Migration, find_last, migrate, revert, status

if TYPE_CHECKING:
    from x121.application import Application

__all__ = ["Migrate"]


class Migrate(Command):
    """Applies migrations, or prints their state: ``x121 migrate``."""

    longdesc = "Applies the pending migrations, as the server does when it starts."
    optFlags = [  # noqa: RUF012
        ["status", None, "Print the state of every migration and change nothing"],
        ["dry-run", None, "Print what would be applied and change nothing"],
        [
            "redo",
            None,
            "Revert the last one as its file says, and apply it again (for development)",
        ],
        ["yes", None, "With --redo: do it, even though data is lost"],
    ]

    def run(self) -> int:
        """Run it on a reactor; return 1 if a migration is wrong or fails."""
        application, loaded = self.load()
        if self["redo"] and loaded.config.db.host:
            raise SystemExit(
                "x121: --redo is for the embedded PostgreSQL, and DB_HOST names another one:"
                " put the change in a new migration"
            )
        log_to_standard_error(loaded)
        work = partial(self._migrate, application)
        run_with_database(
            loaded.config.db, work, interrupted="interrupted; see x121 migrate --status"
        )
        return 0

    async def _migrate(self, application: Application, reactor: Any, db: DbConfig) -> None:
        migrations = application.read_migrations()
        if self["redo"]:
            await self._revert(reactor, db, migrations)
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
            raise SystemExit("x121: the server will not start with this database")

    async def _revert(self, reactor: Any, db: DbConfig, migrations: Sequence[Migration]) -> None:
        """Revert the last migration; without ``--yes`` only print what would be done."""
        last = find_last(migrations, await status(db, migrations, reactor=reactor))
        if not self["yes"]:
            raise SystemExit(
                f"x121: this would revert {last.file_name}, and what it deletes would be lost:"
                f"\n\n{last.revert}\n\n"
                "To do that, and apply the file again: x121 migrate --redo --yes"
            )
        await revert(db, last, reactor=reactor)
