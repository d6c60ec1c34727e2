"""Support for poolers such as PgBouncer between the server and PostgreSQL.

In transaction mode every transaction may run in another session, and a session outlives its client.
No code in this package relies on sessions except for their settings. A pooler refuses or drops the
settings that a connection starts with, so they must be set on the role.
"""

from __future__ import annotations

import psycopg2
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.connection_params import session_limits
from x121.db.pool import Pool

__all__ = ["pooler_advice", "warn_of_missing_limits"]

_log = Logger()

# PgBouncer's errors, and how to fix each.
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
    """Return the setting to change if ``error`` comes from a pooler; else ""."""
    said = str(error)
    return next((advice for text, advice in _ADVICE.items() if text in said), "")


async def warn_of_missing_limits(
    pool: Pool, config: DbConfig, *, statement_timeout_secs: float
) -> None:
    """Log a warning if a limit that the pool's connections start with is not in force.

    A pooler has then dropped it. Without the limit, a query whose client has disconnected runs on.
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
