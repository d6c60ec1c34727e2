"""Groups of PostgreSQL's SQLSTATEs, by their meaning for a client and for a connection.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from psycopg2 import errorcodes

__all__ = ["ends_session", "is_data_error", "is_retriable", "is_unavailable"]

# A session on a server that became a standby, or is stopping, can't be used any more.
_ENDS_SESSION = frozenset(
    (
        errorcodes.READ_ONLY_SQL_TRANSACTION,
        errorcodes.ADMIN_SHUTDOWN,
        errorcodes.CRASH_SHUTDOWN,
        errorcodes.CANNOT_CONNECT_NOW,
        errorcodes.DATABASE_DROPPED,
        errorcodes.SYSTEM_ERROR,
        errorcodes.IO_ERROR,
    )
)
_UNAVAILABLE_CLASSES = frozenset(
    (
        errorcodes.CLASS_CONNECTION_EXCEPTION,
        errorcodes.CLASS_INSUFFICIENT_RESOURCES,
        errorcodes.CLASS_SYSTEM_ERROR,
    )
)
_RETRIABLE = frozenset(
    (
        errorcodes.SERIALIZATION_FAILURE,
        errorcodes.DEADLOCK_DETECTED,
        errorcodes.LOCK_NOT_AVAILABLE,
    )
)
# Text that is too long for an index, and JSON that is nested too deeply.
_DATA_TOO_LARGE = frozenset((errorcodes.PROGRAM_LIMIT_EXCEEDED, errorcodes.STATEMENT_TOO_COMPLEX))


def ends_session(state: str | None) -> bool:
    """Return True if the connection that got ``state`` must be replaced by a new one.

    After a full disk or too little memory the session is still usable.
    """
    return state in _ENDS_SESSION


def is_unavailable(state: str) -> bool:
    """Return True if the server can't do this now, and the statement isn't the cause."""
    return state in _ENDS_SESSION or state[:2] in _UNAVAILABLE_CLASSES


def is_retriable(state: str | None) -> bool:
    """Return True if the same transaction, begun again, may succeed."""
    return state in _RETRIABLE


def is_data_error(state: str) -> bool:
    """Return True if a value, such as a number out of range, can cause ``state``."""
    return state[:2] == errorcodes.CLASS_DATA_EXCEPTION or state in _DATA_TOO_LARGE
