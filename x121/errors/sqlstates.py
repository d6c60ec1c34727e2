"""Groups of PostgreSQL's SQLSTATEs, by what they mean to a client and to a connection.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from psycopg2 import errorcodes

__all__ = ["ends_session", "is_data_error", "is_retriable", "is_unavailable"]

# A session on a server that became a standby, or that stops, can't become useful again.
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
    """Whether the connection that got ``state`` must be replaced by a new one.

    A full disk or too little memory doesn't need that: the session is sound.
    """
    return state in _ENDS_SESSION


def is_unavailable(state: str) -> bool:
    """Whether the server can't do this now, and it isn't the statement's fault."""
    return state in _ENDS_SESSION or state[:2] in _UNAVAILABLE_CLASSES


def is_retriable(state: str | None) -> bool:
    """Whether the same transaction, begun anew, may succeed."""
    return state in _RETRIABLE


def is_data_error(state: str) -> bool:
    """Whether a value can cause ``state``, such as a number out of range."""
    return state[:2] == errorcodes.CLASS_DATA_EXCEPTION or state in _DATA_TOO_LARGE
