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
    UnstorableValue,
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
    421: {"MISDIRECTED_REQUEST"},
    426: {"UPGRADE_REQUIRED"},
    429: {"TOO_MANY_REQUESTS"},
    431: {"HEADERS_TOO_LARGE"},
    500: {"INTERNAL_ERROR", "PANIC"},
    503: {"SERVICE_UNAVAILABLE"},
}
SQL = "INSERT INTO users (password) VALUES ('hunter2')"


class ServerError(psycopg2.DatabaseError):
    """What PostgreSQL answers; psycopg2 lets nobody else set these two."""

    pgcode = ""
    diag = SimpleNamespace()  # type: ignore[assignment]


def server_error(code: str, constraint: str | None = None, **place: str) -> psycopg2.Error:
    """Return an error that PostgreSQL answered."""
    error = ServerError(SQL)
    error.pgcode = code
    names = {"table_name": None, "column_name": None, "constraint_name": constraint}
    error.diag = SimpleNamespace(**(names | place))
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

    def test_named_constraints(self) -> None:
        """A constraint with the prefix of its kind is named, with 409, and a check with 400."""
        for code, constraint, status, message in (
            ("23505", "uq_a", 409, "Duplicate entry violates unique constraint: uq_a"),
            ("23503", "fk_a", 409, "Reference violates foreign key constraint: fk_a"),
            ("23001", "fk_a", 409, "Reference violates foreign key constraint: fk_a"),
            ("23P01", "ex_a", 409, "Entry violates exclusion constraint: ex_a"),
            ("23514", "ck_a", 400, "Value violates check constraint: ck_a"),
        ):
            error = translate_db_error(server_error(code, constraint))
            self.assertEqual((error.status, error.message), (status, message))

    def test_other_constraints(self) -> None:
        """Any other constraint is our fault, and its name stays inside."""
        for code, constraint in (
            (errorcodes.UNIQUE_VIOLATION, "users_pkey"),
            (errorcodes.UNIQUE_VIOLATION, None),
            (errorcodes.UNIQUE_VIOLATION, ""),
            (errorcodes.UNIQUE_VIOLATION, "fk_looks_like_one"),
            (errorcodes.CHECK_VIOLATION, "uq_looks_like_one"),
            (errorcodes.FOREIGN_KEY_VIOLATION, "uq_looks_like_one"),
            (errorcodes.FOREIGN_KEY_VIOLATION, "notes_project_id_fkey"),
            (errorcodes.EXCLUSION_VIOLATION, "bookings_excl"),
            (errorcodes.INTEGRITY_CONSTRAINT_VIOLATION, "ck_a"),
        ):
            error = translate_db_error(server_error(code, constraint))
            self.assertIsInstance(error, InternalError)
            self.assertEqual(error.body()["error"], "Internal server error")

    def test_wrong_values(self) -> None:
        """A value that PostgreSQL can't store, or that is missing, is 400 without the value."""
        for code in ("23502", "22001", "22003", "22021", "22P02", "22P05", "54000", "54001"):
            error = translate_db_error(server_error(code))
            self.assertEqual((error.status, error.code), (400, "BAD_REQUEST"), code)
            self.assertNotIn("hunter2", str(error.body()))
        self.assertEqual(translate_db_error(UnstorableValue(SQL)).status, 400)

    def test_wrong_values_in_the_log(self) -> None:
        """The log is told where a value was refused, and not the value."""
        error = server_error("23502", table_name="notes", column_name="title")
        self.assertEqual(
            DatabaseError(error).detail,
            "the database refused a value: SQLSTATE 23502, table notes, column title",
        )
        self.assertEqual(
            DatabaseError(UnstorableValue(SQL)).detail,
            "the database refused a value: UnstorableValue",
        )

    def test_concurrency(self) -> None:
        """A serialization failure and a deadlock are 409; a lock that isn't free is 503."""
        for code in ("40001", "40P01"):
            self.assertIsInstance(translate_db_error(server_error(code)), Conflict)
        locked = translate_db_error(server_error("55P03"))
        self.assertEqual((locked.status, locked.headers), (503, {"Retry-After": "1"}))

    def test_unavailable(self) -> None:
        """A connection that is refused or lost, and a server that can't, are 503."""
        lost: list[psycopg2.Error] = [
            psycopg2.OperationalError("server closed the connection unexpectedly"),
            psycopg2.InterfaceError("connection already closed"),
        ]
        for code in (
            "08000", "08006", "25006", "53100", "53200", "53300", "57P01", "57P02", "57P03",
            "57P04", "58000", "58030",
        ):  # fmt: skip
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
            server_error("25P02"),
            server_error("55000"),
            server_error("XX000"),
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
