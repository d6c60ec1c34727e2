"""The PostgreSQL of the project's own tests: it can stand still, and have a standby."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from psycopg2 import sql

from x121.db.embedded.binaries import choose_account, grant_access
from x121.testing.postgres import Postgres

__all__ = ["PausablePostgres", "Standby", "active_queries"]


class PausablePostgres(Postgres):
    """A server that may be frozen; also then it can be stopped."""

    def pause(self) -> None:
        """Freeze every process of the server: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        super()._signal(number)
        self.resume()

    def _signal_all(self, number: signal.Signals) -> None:
        # The postmaster first: while it stands still, no child can be added.
        super()._signal(number)
        assert self._server is not None
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._server.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)


class Standby(PausablePostgres):
    """A copy of ``primary`` that follows it and is read-only, on the same port of 127.0.0.2."""

    host = "127.0.0.2"

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self._primary = primary
        self._password = primary._password
        self.port = primary.port

    def create(self, folder: Path) -> None:
        """Copy the primary, which must run, into ``folder``."""
        self._folder = folder.resolve() / "data"
        self._folder.mkdir(mode=0o700)
        self._account = choose_account(self._folder)
        if self._account is not None:
            grant_access(self._account, binaries=self._binaries, folders=[self._folder])
            os.chown(self._folder, self._account.uid, self._account.gid)
        options = self._as_account()
        options["env"] |= {"PGPASSWORD": self._password}
        arguments = ["--pgdata", str(self._folder), "--write-recovery-conf", "--checkpoint=fast"]
        arguments += ["--host", self._primary.host, "--port", str(self.port), "--no-sync"]
        subprocess.run(
            [self._binaries / "pg_basebackup", "--username=postgres", *arguments],
            check=True,
            **options,
        )

    def promote(self) -> None:
        """Make it a primary."""
        self.query("SELECT pg_promote()")


def active_queries(server: Postgres, database: str) -> list[str]:
    """Return the statements that ``server`` is working on in ``database``."""
    rows = server.query(
        sql.SQL(
            "SELECT query FROM pg_stat_activity WHERE datname = {} AND state = 'active'"
        ).format(sql.Literal(database))
    )
    return [row[0] for row in rows]
