"""What the log is told of a failure that a client is told of."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from x121.errors import AppError

__all__ = ["log_failure"]

_log = Logger(namespace="x121.errors")


def log_failure(failure: Failure, error: AppError, line: str, **about: str) -> None:
    """Log ``failure``, which is answered with ``error``, if people should know.

    What is our own fault is logged with its traceback; of the rest only what has a detail that
    the client isn't told, such as why there was no database connection.  ``line`` is the line's
    format, of the fields ``about`` and ``log_reason``.
    """
    if error.ours:
        reason = error.detail or error.message
        _log.failure(line, failure, LogLevel.error, log_reason=reason, **about)
    elif error.detail:
        _log.warn(line, log_reason=error.detail, **about)
