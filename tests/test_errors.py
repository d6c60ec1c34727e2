"""Errors: their statuses, codes and bodies, and what a database error means."""

from __future__ import annotations

import re
from http import HTTPStatus
from types import SimpleNamespace

import psycopg2
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import errorcodes
from twisted.trial.unittest import SynchronousTestCase

from x121 import errors
from x121.errors import (
    AppError,
    BadRequest,
    Conflict,
    DatabaseError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Panic,
    RowNotFound,
    ServiceUnavailable,
    Unauthorized,
    as_app_error,
    error_for_status,
    reason_phrase,
    translate_db_error,
)

# The contract's table.
CODES = {
    400: {"BAD_REQUEST"},
    401: {"UNAUTHORIZED"},
    403: {"FORBIDDEN"},
    404: {"NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    408: {"REQUEST_TIMEOUT"},
    409: {"CONFLICT"},
    412: {"PRECONDITION_FAILED"},
    413: {"PAYLOAD_TOO_LARGE"},
    414: {"URI_TOO_LONG"},
    415: {"UNSUPPORTED_MEDIA_TYPE"},
    426: {"UPGRADE_REQUIRED"},
    431: {"HEADERS_TOO_LARGE"},
    500: {"INTERNAL_ERROR", "PANIC"},
    503: {"SERVICE_UNAVAILABLE"},
}
SQL = "INSERT INTO users (password) VALUES ('hunter2')"


class ServerError(psycopg2.DatabaseError):
    """What PostgreSQL answers; psycopg2 lets nobody else set these two."""

    pgcode = ""
    diag = SimpleNamespace(constraint_name=None)  # type: ignore[assignment]


def server_error(code: str, constraint: str | None = None) -> psycopg2.Error:
    """Return an error that PostgreSQL answered."""
    error = ServerError(SQL)
    error.pgcode = code
    error.diag = SimpleNamespace(constraint_name=constraint)
    return error


class KindsTests(SynchronousTestCase):
    """``AppError`` and its kinds."""

    def test_codes(self) -> None:
        """The kinds have the statuses and codes of the contract, and every one is there."""
        found: dict[int, set[str]] = {}
        for name in errors.__all__:
            kind = getattr(errors, name)
            if isinstance(kind, type) and issubclass(kind, AppError):
                found.setdefault(kind.status, set()).add(kind.code)
        self.assertEqual(found, CODES)

    def test_body(self) -> None:
        """A body is the message and the code, and details only when there are any."""
        self.assertEqual(
            BadRequest("Wrong").body(),
            {"error": "Wrong", "code": "BAD_REQUEST"},
        )
        self.assertEqual(
            BadRequest("Wrong", details=[{"path": "a[0]", "message": "missing"}]).body(),
            {
                "error": "Wrong",
                "code": "BAD_REQUEST",
                "details": [{"path": "a[0]", "message": "missing"}],
            },
        )

    def test_detail_is_not_sent(self) -> None:
        """What is for the log alone is in no body and in no header."""
        for error in (InternalError(SQL), ServiceUnavailable("Busy", detail=SQL)):
            self.assertIn(SQL, (error.message, error.detail))
            self.assertNotIn("hunter2", str(error.body()) + str(error.headers))

    def test_internal_message(self) -> None:
        """Our own faults have one message, whatever they are."""
        for error in (InternalError("x"), Panic("x"), AppError("x")):
            self.assertIs(error.ours, True)
            self.assertEqual(error.body()["error"], "Internal server error")

    def test_not_ours(self) -> None:
        """What a client did wrong, and a server that is busy, is no fault of ours."""
        for error in (BadRequest("x"), NotFound("x"), Conflict("x"), ServiceUnavailable("x")):
            self.assertIs(error.ours, False)

    def test_headers(self) -> None:
        """401, 405 and 503 carry the headers that HTTP wants of them."""
        self.assertEqual(Unauthorized("x").headers, {"WWW-Authenticate": "Bearer"})
        self.assertEqual(
            Unauthorized("x", challenge='Basic realm="a"').headers,
            {"WWW-Authenticate": 'Basic realm="a"'},
        )
        error = MethodNotAllowed("x", allow=["GET", "HEAD"])
        self.assertEqual(error.headers, {"Allow": "GET, HEAD"})

    def test_retry_after(self) -> None:
        """Retry-After is in whole seconds, rounded up, and at least one."""
        for seconds, header in ((0, "1"), (0.2, "1"), (1, "1"), (1.1, "2"), (60, "60")):
            error = ServiceUnavailable("x", retry_after=seconds)
            self.assertEqual(error.headers, {"Retry-After": header})

    def test_nothing_is_shared(self) -> None:
        """What is added to one error's headers and details is on no other error."""
        headers = {"A": "b"}
        first = AppError("x", headers=headers)
        first.headers["C"] = "d"
        first.details.append({"path": "a", "message": "b"})
        self.assertEqual(
            (headers, AppError("x").headers, AppError("x").details), ({"A": "b"}, {}, [])
        )


class DatabaseErrorTests(SynchronousTestCase):
    """``translate_db_error`` and ``DatabaseError``."""

    def test_row_not_found(self) -> None:
        """A row that isn't there is 404 ``Resource not found``."""
        error = translate_db_error(RowNotFound(SQL))
        self.assertIsInstance(error, NotFound)
        self.assertEqual(error.message, "Resource not found")

    def test_unique_constraint(self) -> None:
        """A unique constraint named ``uq_*`` is 409 and named."""
        error = translate_db_error(server_error(errorcodes.UNIQUE_VIOLATION, "uq_users_email"))
        self.assertIsInstance(error, Conflict)
        self.assertEqual(
            error.message, "Duplicate entry violates unique constraint: uq_users_email"
        )

    def test_other_constraints(self) -> None:
        """Any other constraint is our fault, and its name stays inside."""
        for code, constraint in (
            (errorcodes.UNIQUE_VIOLATION, "users_pkey"),
            (errorcodes.UNIQUE_VIOLATION, None),
            (errorcodes.UNIQUE_VIOLATION, ""),
            (errorcodes.CHECK_VIOLATION, "uq_looks_like_one"),
            (errorcodes.FOREIGN_KEY_VIOLATION, "uq_looks_like_one"),
        ):
            error = translate_db_error(server_error(code, constraint))
            self.assertIsInstance(error, InternalError)
            self.assertEqual(error.body()["error"], "Internal server error")

    def test_unreachable(self) -> None:
        """A connection that is refused, lost, or ended by a server that stops is 503."""
        lost: list[psycopg2.Error] = [
            psycopg2.OperationalError("server closed the connection unexpectedly"),
            psycopg2.InterfaceError("connection already closed"),
        ]
        for code in ("08000", "08006", "57P01", "57P02", "57P03", "53300"):
            lost.append(server_error(code))
        for error in lost:
            translated = translate_db_error(error)
            self.assertIsInstance(translated, ServiceUnavailable)
            self.assertIn("Retry-After", translated.headers)

    def test_everything_else(self) -> None:
        """Any other database error is 500, logged with PostgreSQL's words and sent without."""
        for error in (
            server_error("42601"),
            server_error("57014"),
            server_error("40001"),
            psycopg2.ProgrammingError(SQL),
            psycopg2.DataError(SQL),
            psycopg2.Error(SQL),
        ):
            translated = translate_db_error(error)
            self.assertEqual((translated.status, translated.code), (500, "INTERNAL_ERROR"))
            self.assertIs(translated.ours, True)
            self.assertEqual(translated.message, SQL)
            self.assertNotIn("hunter2", str(translated.body()))

    def test_wrapped(self) -> None:
        """A DatabaseError is answered as its translation, and its cause is the original."""
        for original in (
            RowNotFound(SQL),
            server_error(errorcodes.UNIQUE_VIOLATION, "uq_x"),
            psycopg2.OperationalError(SQL),
            psycopg2.DataError(SQL),
        ):
            wrapped, translated = DatabaseError(original), translate_db_error(original)
            self.assertEqual(wrapped.body(), translated.body())
            self.assertEqual(wrapped.headers, translated.headers)
            self.assertEqual((wrapped.status, wrapped.ours), (translated.status, translated.ours))
            self.assertIs(wrapped.__cause__, original)
            # What is nobody's fault is not logged: its text has users' data in it.
            self.assertEqual(wrapped.detail, SQL if wrapped.status >= 500 else "")


class AsAppErrorTests(SynchronousTestCase):
    """``as_app_error``: any exception."""

    def test_app_error(self) -> None:
        """An AppError is itself."""
        error = NotFound("x")
        self.assertIs(as_app_error(error), error)

    def test_database_error(self) -> None:
        """psycopg2's errors are DatabaseErrors."""
        self.assertIsInstance(as_app_error(RowNotFound("x")), DatabaseError)

    def test_anything_else(self) -> None:
        """Whatever else is raised is a Panic with its cause, and its text stays inside."""
        for error in (
            ValueError(SQL),
            KeyError(SQL),
            SystemExit(SQL),
            ExceptionGroup("x", [OSError()]),
        ):
            panic = as_app_error(error)
            self.assertIsInstance(panic, Panic)
            self.assertIs(panic.__cause__, error)
            self.assertEqual(panic.body(), {"error": "Internal server error", "code": "PANIC"})


class ErrorForStatusTests(SynchronousTestCase):
    """``error_for_status``: what other libraries answer."""

    def test_statuses_of_the_contract(self) -> None:
        """A status of the contract has the contract's code; 500 the one of InternalError."""
        for status, codes in CODES.items():
            error = error_for_status(status)
            self.assertEqual(error.status, status)
            self.assertIn(error.code, codes - {"PANIC"})

    def test_other_statuses(self) -> None:
        """Another status has its phrase as message and code."""
        gone = error_for_status(410)
        self.assertEqual((gone.status, gone.message, gone.code), (410, "Gone", "GONE"))
        self.assertEqual(error_for_status(418).code, "I_M_A_TEAPOT")
        self.assertEqual(error_for_status(599).body(), {"error": "Error", "code": "ERROR"})

    def test_500(self) -> None:
        """500 says no more than our own does."""
        self.assertEqual(error_for_status(500).body(), InternalError("x").body())

    @given(st.integers(100, 999))
    def test_any_status(self, status: int) -> None:
        """Every code is capitals joined by underscores, and every message has text."""
        error = error_for_status(status)
        self.assertTrue(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", error.code), error.code)
        self.assertTrue(error.message)

    def test_reason_phrases(self) -> None:
        """A status has the phrase of RFC 9110, or ``Error`` if it has none."""
        self.assertEqual(reason_phrase(404), HTTPStatus.NOT_FOUND.phrase)
        self.assertEqual(reason_phrase(599), "Error")
