"""What can go wrong for a caller, and the one form in which callers are told.

A handler raises an :class:`AppError`; any other exception is turned into one by
:func:`as_app_error`.  An ``AppError`` knows its HTTP status, its stable ``code`` and a
message that is safe to send.  What must stay inside (SQL, paths, tracebacks) lives in
``detail`` and in ``__cause__``, which only the log sees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

import psycopg2
from psycopg2 import errorcodes

__all__ = [
    "AppError",
    "BadRequest",
    "Conflict",
    "DatabaseError",
    "FieldError",
    "Forbidden",
    "HeadersTooLarge",
    "InternalError",
    "MethodNotAllowed",
    "NotFound",
    "Panic",
    "PayloadTooLarge",
    "RequestTimeout",
    "RowNotFound",
    "ServiceUnavailable",
    "Unauthorized",
    "UnsupportedMediaType",
    "UriTooLong",
    "as_app_error",
    "error_for_status",
    "reason_phrase",
    "translate_db_error",
]

_INTERNAL_MESSAGE = "Internal server error"


class FieldError(TypedDict):
    """One wrong field of a request: where it is, such as ``items[2].name``, and why."""

    path: str
    message: str


class AppError(Exception):
    """An error with a status, a code and a message for the client.

    ``message`` is sent as it is.  ``details`` is sent when it is not empty; ``headers`` are
    added to an HTTP answer.  ``detail`` is for the log alone.  Raise one of the kinds below.
    """

    status: int = 500
    code: str = "INTERNAL_ERROR"
    ours: bool = False
    """True where the server is at fault: such an error is logged at error level."""

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)
        self.headers = dict(headers or {})
        self.detail = detail

    def body(self) -> dict[str, Any]:
        """Return the contract's form, ``{"error", "code"}`` and ``details`` if there are any."""
        body: dict[str, Any] = {"error": self.message, "code": self.code}
        if self.details:
            body["details"] = self.details
        return body


class BadRequest(AppError):
    """The request can't be understood; ``details`` lists wrong fields."""

    status = 400
    code = "BAD_REQUEST"


class Unauthorized(AppError):
    """Nobody is logged in.  ``challenge`` says how to (RFC 9110 section 11.6.1)."""

    status = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str, *, challenge: str = "Bearer") -> None:
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class Forbidden(AppError):
    """Somebody is known, and may not do this."""

    status = 403
    code = "FORBIDDEN"


class NotFound(AppError):
    """There is no such thing."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowed(AppError):
    """The path exists, the method doesn't; ``allow`` are the methods that do."""

    status = 405
    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, allow: Sequence[str]) -> None:
        super().__init__(message, headers={"Allow": ", ".join(allow)})


class RequestTimeout(AppError):
    """The request, or the work on it, took too long."""

    status = 408
    code = "REQUEST_TIMEOUT"


class Conflict(AppError):
    """The request contradicts what is stored."""

    status = 409
    code = "CONFLICT"


class PayloadTooLarge(AppError):
    """The body is over ``MAX_BODY_BYTES``."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UriTooLong(AppError):
    """The request target is longer than the server reads."""

    status = 414
    code = "URI_TOO_LONG"


class UnsupportedMediaType(AppError):
    """The body is of a type that this endpoint doesn't read."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class HeadersTooLarge(AppError):
    """The request's head is larger than the server reads (RFC 6585 section 5)."""

    status = 431
    code = "HEADERS_TOO_LARGE"


class InternalError(AppError):
    """Our own fault, raised on purpose.  ``detail`` is logged and never sent."""

    ours = True

    def __init__(self, detail: str) -> None:
        super().__init__(_INTERNAL_MESSAGE, detail=detail)


class Panic(AppError):
    """An exception that no handler expected; ``__cause__`` is what was raised."""

    code = "PANIC"
    ours = True

    def __init__(self) -> None:
        super().__init__(_INTERNAL_MESSAGE)


class ServiceUnavailable(AppError):
    """The server can't do this now; ``retry_after`` is in seconds (RFC 9110 section 10.2.3)."""

    status = 503
    code = "SERVICE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float = 1.0, detail: str = "") -> None:
        whole_seconds = max(1, math.ceil(retry_after))
        super().__init__(message, headers={"Retry-After": str(whole_seconds)}, detail=detail)


class RowNotFound(psycopg2.ProgrammingError):
    """A query that had to give one row gave none."""


class DatabaseError(AppError):
    """A psycopg2 error, wrapped; status, code and message are those of its translation."""

    ours = True

    def __init__(self, error: psycopg2.Error) -> None:
        translated = translate_db_error(error)
        super().__init__(translated.message, headers=translated.headers, detail=str(error).strip())
        self.status = translated.status
        self.code = translated.code
        self.ours = translated.ours
        self.__cause__ = error


# PostgreSQL's class 08 is "connection exception"; the others are sent to clients while the
# server stops, recovers or starts, and when it has no connection left.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNREACHABLE = frozenset(
    (
        errorcodes.ADMIN_SHUTDOWN,
        errorcodes.CRASH_SHUTDOWN,
        errorcodes.CANNOT_CONNECT_NOW,
        errorcodes.TOO_MANY_CONNECTIONS,
    )
)


def translate_db_error(error: psycopg2.Error) -> AppError:
    """Return what a database error means to a client.

    A unique constraint named ``uq_*`` is a :class:`Conflict` that names the constraint,
    :class:`RowNotFound` is :class:`NotFound`, a lost or refused connection is
    :class:`ServiceUnavailable`.  Everything else is an :class:`InternalError`, because its
    text may hold SQL or data.
    """
    if isinstance(error, RowNotFound):
        return NotFound("Resource not found")
    state = error.pgcode
    constraint = error.diag.constraint_name
    if state == errorcodes.UNIQUE_VIOLATION and constraint and constraint.startswith("uq_"):
        return Conflict(f"Duplicate entry violates unique constraint: {constraint}")
    # A connection that broke has no SQLSTATE: libpq noticed, not the server.
    broken = state is None and isinstance(
        error, (psycopg2.OperationalError, psycopg2.InterfaceError)
    )
    if broken or (state is not None and (state[:2] == "08" or state in _UNREACHABLE)):
        return ServiceUnavailable("The database is not reachable; try again shortly")
    return InternalError(str(error).strip())


def as_app_error(error: BaseException) -> AppError:
    """Return what a client is told of ``error``: itself, a DatabaseError or a Panic."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, psycopg2.Error):
        return DatabaseError(error)
    panic = Panic()
    panic.__cause__ = error
    return panic


_CODES = {
    kind.status: kind.code
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        Conflict,
        PayloadTooLarge,
        UriTooLong,
        UnsupportedMediaType,
        HeadersTooLarge,
        InternalError,
        ServiceUnavailable,
    )
}


def reason_phrase(status: int) -> str:
    """Return what RFC 9110 calls ``status``, or ``Error`` if nobody gave it a name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_for_status(status: int) -> AppError:
    """Return an error for a bare HTTP status, as other libraries' errors give it.

    A status that the contract has no code for gets its phrase as the code, such as ``GONE``.
    """
    phrase = reason_phrase(status)
    error = AppError(_INTERNAL_MESSAGE if status == 500 else phrase)
    error.status = status
    error.code = _CODES.get(status) or re.sub("[^A-Z]+", "_", phrase.upper())
    return error
