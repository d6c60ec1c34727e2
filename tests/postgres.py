"""The PostgreSQL of the project's own tests: it can stand still, and says what it works on."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil  # type: ignore[import-untyped]
from psycopg2 import sql

from x121.testing.postgres import Postgres

__all__ = ["PausablePostgres", "active_queries"]


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


def active_queries(server: Postgres, database: str) -> list[str]:
    """Return the statements that ``server`` is working on in ``database``."""
    rows = server.query(
        sql.SQL(
            "SELECT query FROM pg_stat_activity WHERE datname = {} AND state = 'active'"
        ).format(sql.Literal(database))
    )
    return [row[0] for row in rows]
