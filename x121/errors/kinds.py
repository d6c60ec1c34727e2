"""Error kinds: each has an HTTP status, a stable ``code`` and a message that is safe to send.

A handler raises an :class:`AppError`; :func:`as_app_error` turns any other exception into one.
Internal details (SQL, paths, tracebacks) go into ``detail`` and ``__cause__``, which are logged and
never sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, ClassVar, TypedDict

import psycopg2
from psycopg2 import errorcodes

from x121.errors.sqlstates import is_data_error, is_retriable, is_unavailable

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
    "MisdirectedRequest",
    "NotFound",
    "Panic",
    "PayloadTooLarge",
    "PreconditionFailed",
    "RequestTimeout",
    "RowNotFound",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "UnstorableValue",
    "UnsupportedMediaType",
    "UpgradeRequired",
    "UriTooLong",
    "as_app_error",
    "error_for_status",
    "reason_phrase",
    "translate_db_error",
]

_INTERNAL_MESSAGE = "Internal server error"


class FieldError(TypedDict):
    """One invalid field of a request: its path, such as ``items[2].name``, and the reason."""

    path: str
    message: str


class AppError(Exception):
    """An error with a status, a code and a message for the client.

    ``message`` is sent as it is, except for a status of 500.  ``details`` is sent if it is not
    empty; ``headers`` are added to an HTTP response.  ``detail`` is only logged.  Raise one of the
    kinds below.

    For the API documentation, ``documented_headers`` maps the extra headers of a kind's responses
    to their meaning, and ``documented_members`` the extra members of their body to their types.
    """

    status: int = 500
    code: str = "INTERNAL_ERROR"
    documented_headers: ClassVar[Mapping[str, str]] = {}
    documented_members: ClassVar[Mapping[str, Any]] = {}

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

    @property
    def ours(self) -> bool:
        """True if the server is at fault: the message is then logged, and not sent."""
        return self.status == 500

    def body(self) -> dict[str, Any]:
        """Return the response body: ``error``, ``code``, and ``details`` if there are any."""
        text = _INTERNAL_MESSAGE if self.ours else self.message
        body: dict[str, Any] = {"error": text, "code": self.code}
        if self.details:
            body["details"] = self.details
        return body


class BadRequest(AppError):
    """The request is malformed or invalid; ``details`` lists the invalid fields."""

    status = 400
    code = "BAD_REQUEST"


class Unauthorized(AppError):
    """The request is not authenticated; ``challenge`` says how to (RFC 9110 section 11.6.1)."""

    status = 401
    code = "UNAUTHORIZED"
    documented_headers: ClassVar = {"WWW-Authenticate": "How to log in"}

    def __init__(self, message: str, *, challenge: str = "Bearer") -> None:
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class Forbidden(AppError):
    """The user is not allowed to do this."""

    status = 403
    code = "FORBIDDEN"


class NotFound(AppError):
    """The resource does not exist."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowed(AppError):
    """The path does not support the method; ``allow`` lists the methods that it does."""

    status = 405
    code = "METHOD_NOT_ALLOWED"
    documented_headers: ClassVar = {"Allow": "The methods that the path supports"}

    def __init__(self, message: str, *, allow: Sequence[str]) -> None:
        super().__init__(message, headers={"Allow": ", ".join(allow)})


class RequestTimeout(AppError):
    """The request, or the work on it, took too long."""

    status = 408
    code = "REQUEST_TIMEOUT"


class Conflict(AppError):
    """The request conflicts with stored data, or with a concurrent request."""

    status = 409
    code = "CONFLICT"


class PreconditionFailed(AppError):
    """A precondition of the request, such as If-Match, failed (RFC 9110 section 15.5.13)."""

    status = 412
    code = "PRECONDITION_FAILED"


class PayloadTooLarge(AppError):
    """The body is larger than the limit, or has more JSON values than the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class UriTooLong(AppError):
    """The request target is longer than the limit."""

    status = 414
    code = "URI_TOO_LONG"


class UnsupportedMediaType(AppError):
    """The body's Content-Type is not supported by this endpoint."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class MisdirectedRequest(AppError):
    """The host that the request names is not one of ``SERVER_NAMES`` (RFC 9110 section 15.5.20)."""

    status = 421
    code = "MISDIRECTED_REQUEST"


class UpgradeRequired(AppError):
    """The path requires another protocol (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""

    status = 426
    code = "UPGRADE_REQUIRED"
    documented_headers: ClassVar = {"Upgrade": "The protocol that the path requires"}

    def __init__(self, message: str) -> None:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        super().__init__(message, headers=headers)


class TooManyRequests(AppError):
    """The client sends too many requests; retry after ``retry_after`` seconds (RFC 6585)."""

    status = 429
    code = "TOO_MANY_REQUESTS"
    documented_headers: ClassVar = {"Retry-After": "How many seconds to wait"}

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, headers=_retry_after(retry_after))


class HeadersTooLarge(AppError):
    """The request's head is larger than the limit (RFC 6585 section 5)."""

    status = 431
    code = "HEADERS_TOO_LARGE"


class InternalError(AppError):
    """A server error that is raised on purpose.  The message is logged and never sent."""


class Panic(AppError):
    """An unexpected exception in a handler, which is the ``__cause__``."""

    code = "PANIC"


class ServiceUnavailable(AppError):
    """The server can't do this now; retry after ``retry_after`` seconds (RFC 9110)."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    documented_headers: ClassVar = {"Retry-After": "How many seconds to wait"}

    def __init__(self, message: str, *, retry_after: float = 1.0, detail: str = "") -> None:
        super().__init__(message, headers=_retry_after(retry_after), detail=detail)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class RowNotFound(psycopg2.ProgrammingError):
    """A query that must return one row returned none."""


class UnstorableValue(psycopg2.DataError, ValueError):
    """A parameter that PostgreSQL can't store, such as text with a NUL character."""


class DatabaseError(AppError):
    """A psycopg2 error, with the status, code and message of its translation."""

    def __init__(self, error: psycopg2.Error) -> None:
        translated = translate_db_error(error)
        super().__init__(
            translated.message, headers=translated.headers, detail=_log_detail(error, translated)
        )
        self.status = translated.status
        self.code = translated.code
        self.__cause__ = error


def _log_detail(error: psycopg2.Error, translated: AppError) -> str:
    """Return the text for the log; PostgreSQL's text about invalid data contains that data."""
    if translated.status >= 500:
        return str(error).strip()
    if translated.status != 400:
        return ""  # conflicts and missing rows are normal
    parts = {
        "SQLSTATE": error.pgcode,
        "table": error.diag.table_name,
        "column": error.diag.column_name,
        "constraint": error.diag.constraint_name,
    }
    found = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
    return f"the database refused a value: {found or type(error).__name__}"


_Constraint = tuple[str, type[AppError], str]
_FOREIGN_KEY: _Constraint = ("fk_", Conflict, "Reference violates foreign key constraint")
# The name of a constraint is sent only if it has the prefix.
_CONSTRAINTS: dict[str, _Constraint] = {
    errorcodes.UNIQUE_VIOLATION: ("uq_", Conflict, "Duplicate entry violates unique constraint"),
    errorcodes.EXCLUSION_VIOLATION: ("ex_", Conflict, "Entry violates exclusion constraint"),
    errorcodes.FOREIGN_KEY_VIOLATION: _FOREIGN_KEY,
    errorcodes.RESTRICT_VIOLATION: _FOREIGN_KEY,
    errorcodes.CHECK_VIOLATION: ("ck_", BadRequest, "Value violates check constraint"),
}


def translate_db_error(error: psycopg2.Error) -> AppError:
    """Return the error to send for a database error.

    - :class:`RowNotFound`: :class:`NotFound`.
    - A constraint named ``uq_*``, ``ex_*`` or ``fk_*``, a serialization failure, a deadlock:
      :class:`Conflict`.  The message names the constraint.
    - A constraint named ``ck_*``, a missing value, a value that PostgreSQL can't store:
      :class:`BadRequest`.
    - A connection that is lost or refused, a server that is stopping, read-only or full, a lock
      that isn't free: :class:`ServiceUnavailable`.
    - Anything else: :class:`InternalError`, because its text may contain SQL or data.
    """
    if isinstance(error, RowNotFound):
        return NotFound("Resource not found")
    if isinstance(error, UnstorableValue):
        return _unstorable()
    if error.pgcode is not None:
        return _translate_state(error.pgcode, error)
    # A lost connection has no SQLSTATE: libpq reports it, not the server.
    if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return ServiceUnavailable("The database is not reachable; try again shortly")
    return _internal(error)


def _translate_state(state: str, error: psycopg2.Error) -> AppError:
    if state in _CONSTRAINTS:
        prefix, kind, message = _CONSTRAINTS[state]
        name = error.diag.constraint_name or ""
        return kind(f"{message}: {name}") if name.startswith(prefix) else _internal(error)
    if state == errorcodes.NOT_NULL_VIOLATION:
        return BadRequest("A required value is missing")
    if is_data_error(state):
        return _unstorable()
    if state == errorcodes.LOCK_NOT_AVAILABLE:
        return ServiceUnavailable("The data is locked by another request; try again shortly")
    if is_retriable(state):
        return Conflict("The request conflicts with a concurrent one; try again")
    if is_unavailable(state):
        return ServiceUnavailable("The database can't do this now; try again shortly")
    return _internal(error)


def _unstorable() -> AppError:
    return BadRequest("The database can't accept a value of the request")


def _internal(error: psycopg2.Error) -> AppError:
    return InternalError(str(error).strip())


def as_app_error(error: BaseException) -> AppError:
    """Return the error to send for ``error``: itself, a DatabaseError or a Panic."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, psycopg2.Error):
        return DatabaseError(error)
    panic = Panic(f"{type(error).__name__}: {error}")
    panic.__cause__ = error
    return panic


# --- errors that other libraries give as a bare status -----------------------------------

_KINDS: dict[int, Callable[[str], AppError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: lambda message: MethodNotAllowed(message, allow=()),
    408: RequestTimeout,
    409: Conflict,
    412: PreconditionFailed,
    413: PayloadTooLarge,
    414: UriTooLong,
    415: UnsupportedMediaType,
    421: MisdirectedRequest,
    426: UpgradeRequired,
    429: TooManyRequests,
    431: HeadersTooLarge,
    500: InternalError,
    503: ServiceUnavailable,
}
# Phrases that differ between versions of Python; codes are made of them and must not change.
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
# Headers that belong to an error (RFC 9110 sections 10.2, 11.7, 12.5 and 14.4, RFC 5789 section
# 2.2, RFC 7725 section 3).  All others describe the page that is replaced.
_KEPT_HEADERS = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-patch",
        "allow",
        "content-range",
        "link",
        "location",
        "proxy-authenticate",
        "retry-after",
        "www-authenticate",
    )
)


@lru_cache(maxsize=128)  # an HTTPStatus takes a microsecond
def reason_phrase(status: int) -> str:
    """Return the reason phrase of ``status`` in RFC 9110, or ``Error`` if it has none."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_for_status(status: int, headers: Iterable[tuple[str, str]] = ()) -> AppError:
    """Return an error for a bare HTTP status, such as another library's error has.

    A status without an error kind gets its phrase as the code, such as ``GONE``.  Only ``headers``
    that belong to an error, such as ``Retry-After``, are kept; fields with the same name are
    joined (RFC 9110 section 5.3).
    """
    phrase = reason_phrase(status)
    if status in _KINDS:
        error = _KINDS[status](phrase)
    else:
        error = AppError(phrase)
        error.status = status
        error.code = re.sub("[^A-Z]+", "_", phrase.upper())
    error.headers.update(_joined((k, v) for k, v in headers if k.lower() in _KEPT_HEADERS))
    return error


def _joined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one value per name."""
    values: dict[str, str] = {}
    for name, value in fields:
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values
