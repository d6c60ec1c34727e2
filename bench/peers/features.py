"""What a peer does for every request beside answering it: the same as x121, and as cheaply.

A request id that can't be guessed, one line of JSON in the access log, CORS for the origins
that are allowed, a time-out, and errors in one form.  What can be bought cheaply is: ids from
``os.urandom``, JSON from orjson, and log lines that are written together, once a turn of the loop.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import orjson

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "ORIGINS",
    "PREFLIGHT",
    "REQUEST_ID",
    "TIMEOUT_SECS",
    "AccessLog",
    "error_body",
    "make_id",
    "permission",
]

ORIGINS = frozenset(os.environ["CORS_ORIGINS"].split(","))
TIMEOUT_SECS = float(os.environ["REQUEST_TIMEOUT_SECS"])
CLIENT_CLOSED_REQUEST = 499

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being handled, for every line that is logged meanwhile."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, PATCH",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "3600",
}
"""The headers of the answer to a preflight, beside those of every answer."""


def make_id() -> str:
    """Return a random UUID, version 4, as text: ``str(uuid.uuid4())`` at a fifth of its cost."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def permission(origin: str | None) -> dict[str, str]:
    """Return what lets a page of ``origin`` read an answer, if it may."""
    if origin not in ORIGINS:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Request-Id",
    }


def error_body(message: str, code: str) -> bytes:
    """Return the one form of all errors."""
    return orjson.dumps({"error": message, "code": code})


class AccessLog:
    """Writes lines to the file that ``ACCESS_LOG`` names, those of one turn of the loop at once."""

    def __init__(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = os.open(os.environ["ACCESS_LOG"], flags, 0o640)
        self._lines: list[bytes] = []

    def request(
        self,
        method: str,
        path: str,
        status: int,
        begun: float,
        size: int,
        remote: str | None,
        request_id: str,
    ) -> None:
        """Log a request that began at ``begun`` and is over."""
        self._write(
            {
                "timestamp": datetime.now(UTC),
                "level": "info",
                "logger": "access",
                "method": method,
                "path": path,
                "status": status,
                "duration_ms": round((perf_counter() - begun) * 1000, 3),
                "bytes": size,
                "remote": remote,
                "request_id": request_id,
            }
        )

    def exception(self, message: str) -> None:
        """Log the exception that is being handled."""
        self._write(
            {
                "timestamp": datetime.now(UTC),
                "level": "error",
                "logger": "errors",
                "message": message,
                "request_id": REQUEST_ID.get(),
                "traceback": traceback.format_exc(),
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(line, option=_LINE))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        os.write(self._descriptor, b"".join(lines))


_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
