"""Logs request failures: server errors with a traceback, others only if they have details."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from x121.errors import AppError

__all__ = ["log_failure"]

_log = Logger(namespace="x121.errors")


def log_failure(failure: Failure | BaseException, error: AppError, line: str, **about: str) -> None:
    """Log ``failure``, for which ``error`` is sent, if it needs attention.

    A server error is logged with its traceback.  Any other error is logged only if it has a
    ``detail`` that is not sent, such as why there was no database connection.  ``line`` is the
    line's format, with the fields ``about`` and ``log_reason``.
    """
    if error.ours:
        reason = error.detail or error.message
        if not isinstance(failure, Failure):
            failure = Failure(failure)
        _log.failure(line, failure, LogLevel.error, log_reason=reason, **about)
    elif error.detail:
        _log.warn(line, log_reason=error.detail, **about)
