"""What can go wrong for a caller, and the one form in which callers are told.

A handler raises an :class:`AppError`; any other exception is turned into one by
:func:`as_app_error`.  An ``AppError`` knows its HTTP status, its stable ``code`` and a
message that is safe to send.  What must stay inside (SQL, paths, tracebacks) lives in
``detail`` and in ``__cause__``, which only the log sees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """One wrong field of a request: where it is, such as ``items[2].name``, and why."""

    path: str
    message: str


class AppError(Exception):
    """An error with a status, a code and a message for the client.

    ``message`` is sent as it is, unless the fault is ours.  ``details`` is sent when it is not
    empty; ``headers`` are added to an HTTP answer.  ``detail`` is for the log alone.  Raise one
    of the kinds below.

    A kind says for the documentation what each of its answers has besides: headers with their
    meaning, and members of the body with their types.
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
        """Whether the server is at fault: then the log has the message, and nobody else."""
        return self.status == 500

    def body(self) -> dict[str, Any]:
        """Return the contract's form, ``{"error", "code"}`` and ``details`` if there are any."""
        text = _INTERNAL_MESSAGE if self.ours else self.message
        body: dict[str, Any] = {"error": text, "code": self.code}
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
    documented_headers: ClassVar = {"WWW-Authenticate": "How to log in"}

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
    documented_headers: ClassVar = {"Allow": "The methods that the path has"}

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


class PreconditionFailed(AppError):
    """What the request depends on is no longer so (RFC 9110 section 15.5.13)."""

    status = 412
    code = "PRECONDITION_FAILED"


class PayloadTooLarge(AppError):
    """The body is larger than the server reads, or as JSON larger than it decodes."""

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


class MisdirectedRequest(AppError):
    """The host that the request names is not one of ``SERVER_NAMES`` (RFC 9110 section 15.5.20)."""

    status = 421
    code = "MISDIRECTED_REQUEST"


class UpgradeRequired(AppError):
    """This path speaks another protocol (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""

    status = 426
    code = "UPGRADE_REQUIRED"
    documented_headers: ClassVar = {"Upgrade": "The protocol that the path speaks"}

    def __init__(self, message: str) -> None:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        super().__init__(message, headers=headers)


class TooManyRequests(AppError):
    """The client asks too often; ``retry_after`` is in seconds (RFC 6585 section 4)."""

    status = 429
    code = "TOO_MANY_REQUESTS"
    documented_headers: ClassVar = {"Retry-After": "How many seconds to wait"}

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, headers=_retry_after(retry_after))


class HeadersTooLarge(AppError):
    """The request's head is larger than the server reads (RFC 6585 section 5)."""

    status = 431
    code = "HEADERS_TOO_LARGE"


class InternalError(AppError):
    """Our own fault, raised on purpose.  The message is logged and never sent."""


class Panic(AppError):
    """An exception that no handler expected; ``__cause__`` is what was raised."""

    code = "PANIC"


class ServiceUnavailable(AppError):
    """The server can't do this now; ``retry_after`` is in seconds (RFC 9110 section 10.2.3)."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    documented_headers: ClassVar = {"Retry-After": "How many seconds to wait"}

    def __init__(self, message: str, *, retry_after: float = 1.0, detail: str = "") -> None:
        super().__init__(message, headers=_retry_after(retry_after), detail=detail)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class RowNotFound(psycopg2.ProgrammingError):
    """A query that had to give one row gave none."""


class UnstorableValue(psycopg2.DataError, ValueError):
    """A parameter that PostgreSQL has no form for, such as text with a NUL character."""


class DatabaseError(AppError):
    """A psycopg2 error, wrapped; status, code and message are those of its translation."""

    def __init__(self, error: psycopg2.Error) -> None:
        translated = translate_db_error(error)
        super().__init__(
            translated.message, headers=translated.headers, detail=_log_detail(error, translated)
        )
        self.status = translated.status
        self.code = translated.code
        self.__cause__ = error


def _log_detail(error: psycopg2.Error, translated: AppError) -> str:
    """Return the text for the log.  PostgreSQL's own has users' data in it if the data is wrong."""
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
# A constraint whose name has the prefix is meant for clients; any other name stays inside.
_CONSTRAINTS: dict[str, _Constraint] = {
    errorcodes.UNIQUE_VIOLATION: ("uq_", Conflict, "Duplicate entry violates unique constraint"),
    errorcodes.EXCLUSION_VIOLATION: ("ex_", Conflict, "Entry violates exclusion constraint"),
    errorcodes.FOREIGN_KEY_VIOLATION: _FOREIGN_KEY,
    errorcodes.RESTRICT_VIOLATION: _FOREIGN_KEY,
    errorcodes.CHECK_VIOLATION: ("ck_", BadRequest, "Value violates check constraint"),
}


def translate_db_error(error: psycopg2.Error) -> AppError:
    """Return what a database error means to a client.

    - :class:`RowNotFound`: :class:`NotFound`.
    - A constraint named ``uq_*``, ``ex_*`` or ``fk_*``, a serialization failure, a deadlock:
      :class:`Conflict`.  The message names the constraint.
    - A constraint named ``ck_*``, a missing value, a value that PostgreSQL can't store:
      :class:`BadRequest`.
    - A connection that is lost or refused, a server that can't (it stops, is read-only or full),
      a lock that isn't free: :class:`ServiceUnavailable`.
    - Anything else: :class:`InternalError`, because its text may hold SQL or data.
    """
    if isinstance(error, RowNotFound):
        return NotFound("Resource not found")
    if isinstance(error, UnstorableValue):
        return _unstorable()
    if error.pgcode is not None:
        return _translate_state(error.pgcode, error)
    # A connection that broke has no SQLSTATE: libpq noticed, not the server.
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
    """Return what a client is told of ``error``: itself, a DatabaseError or a Panic."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, psycopg2.Error):
        return DatabaseError(error)
    panic = Panic(f"{type(error).__name__}: {error}")
    panic.__cause__ = error
    return panic


# --- errors that others give as a bare status ---------------------------------------------

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
# What Python calls them changed with its versions; codes must not.
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
# Fields that tell a client what to do about an error (RFC 9110 sections 10.2, 11.7, 12.5 and 14.4,
# RFC 5789 section 2.2, RFC 7725 section 3).  All others describe the page that is replaced.
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


def reason_phrase(status: int) -> str:
    """Return what RFC 9110 calls ``status``, or ``Error`` if nobody gave it a name."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_for_status(status: int, headers: Iterable[tuple[str, str]] = ()) -> AppError:
    """Return an error for a bare HTTP status, as other libraries' errors give it.

    A status that the contract has no code for gets its phrase as the code, such as ``GONE``.
    Of ``headers`` those are kept that belong to an error, such as ``Retry-After``; several
    fields of one name are joined (RFC 9110 section 5.3).
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
    """Return one value for each name."""
    values: dict[str, str] = {}
    for name, value in fields:
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values
