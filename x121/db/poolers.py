"""Poolers such as PgBouncer between the server and PostgreSQL: what they keep from it.

In transaction mode every transaction may run in another session, and a session outlives its
client.  Nothing here relies on sessions, but for their settings: those that a connection starts
with are refused or dropped by a pooler, and have to be the role's.
"""

from __future__ import annotations

import psycopg2
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.connection_params import session_limits
from x121.db.pool import Pool

__all__ = ["pooler_advice", "warn_of_missing_limits"]

_log = Logger()

# What PgBouncer says, and what to do about it.
_ADVICE = {
    "unsupported startup parameter": (
        "the pooler refuses the settings that a connection starts with: set"
        " ignore_startup_parameters = options in pgbouncer.ini"
    ),
    "statement pooling mode": (
        "the pooler allows no transactions: set pool_mode = transaction in pgbouncer.ini"
    ),
}


def pooler_advice(error: psycopg2.Error) -> str:
    """Return what to set where ``error`` is a pooler's; "" for any other."""
    said = str(error)
    return next((advice for text, advice in _ADVICE.items() if text in said), "")


async def warn_of_missing_limits(
    pool: Pool, config: DbConfig, *, statement_timeout_secs: float
) -> None:
    """Log a warning if a limit that connections of the pool start with is not in force.

    A pooler has dropped it then.  Without it a query that nobody waits for any more goes on.
    """
    limits = session_limits(statement_timeout_secs)
    rows = await pool.fetch_all(
        "SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = '0'", (list(limits),)
    )
    missing = [name for (name,) in rows]
    if missing:
        role = '"' + config.user.replace('"', '""') + '"'
        _log.warn(
            "A pooler drops the settings that connections start with, so that nothing limits"
            " {names}: make them the role's with {statements}",
            names=" and ".join(missing),
            statements=" ".join(
                f"ALTER ROLE {role} SET {name} = {limits[name]};" for name in missing
            ),
        )
