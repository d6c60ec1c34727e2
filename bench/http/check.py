"""Check that a server does all that it is measured with; one that doesn't is a failure."""

from __future__ import annotations

import http.client
import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bench.http.cases import CASES, HEALTH, MISSING, Case
from bench.processes import Failure, Server
from bench.programs import ORIGIN, Place, Program

__all__ = ["check", "check_timeout"]

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LINE_KEYS = {
    "timestamp",
    "level",
    "logger",
    "method",
    "path",
    "status",
    "duration_ms",
    "bytes",
    "remote",
    "request_id",
}
_TIMEOUT_SECS = 0.2
_PATIENCE_SECS = 5.0
_POLL_SECS = 0.02


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers["X-Request-Id"] or ""


def check(program: Program, server: Server) -> None:
    """Raise :class:`~bench.processes.Failure` if ``server`` responds differently than it should."""
    checker = _Checker(server)
    if not program.has_features:
        checker.answers(HEALTH)
        return
    for case in CASES:
        checker.answers(case)
        checker.has_features(checker.ask(case), case)
    checker.has_errors_in_one_form()
    checker.refuses_other_origins()
    checker.answers_preflights()


def check_timeout(program: Program, place: Place) -> None:
    """Raise :class:`~bench.processes.Failure` if a request that takes too long isn't ended."""
    if not program.has_features:
        return
    with place.run(program, {"REQUEST_TIMEOUT_SECS": str(_TIMEOUT_SECS)}) as server:
        checker = _Checker(server)
        slow = Case("slow", "", "/slow", None, status=408)
        checker.is_error(checker.ask(slow), slow, "REQUEST_TIMEOUT")


class _Checker:
    def __init__(self, server: Server) -> None:
        self._server = server

    # --- what is asked of everybody ---

    def ask(self, case: Case, headers: dict[str, str] | None = None) -> _Answer:
        """Send the request of ``case`` and return its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=10)
        kind = {"Content-Type": "application/json"} if case.body else {}
        fields = {"Origin": ORIGIN, **kind} if headers is None else headers
        try:
            connection.request(case.method, case.path, case.body or None, fields)
            response = connection.getresponse()
            return _Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def answers(self, case: Case) -> None:
        """The response is what it should be, as far as it is the handler's."""
        answer = self.ask(case)
        self._require(answer.status == case.status, case, f"status {answer.status}")
        body = self._json(answer, case)
        self._require(case.answer in (None, body), case, f"body {body}")

    # --- features ---

    def has_features(self, answer: _Answer, case: Case) -> None:
        """The response has an id, lets its page read it, and has a line in the log."""
        headers = answer.headers
        self._require(bool(_UUID4.fullmatch(answer.request_id)), case, "no X-Request-Id")
        self._require(answer.request_id != self.ask(case).request_id, case, "an id twice")
        self._require("Origin" in (headers["Vary"] or ""), case, "no Vary: Origin")
        wanted = {
            "Access-Control-Allow-Origin": ORIGIN,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "X-Request-Id",
        }
        for name, value in wanted.items():
            self._require(headers[name] == value, case, f"{name}: {headers[name]}")
        line = self._line(answer.request_id, case, "duration_ms")
        self._require(line.keys() >= _LINE_KEYS, case, f"no {_LINE_KEYS - line.keys()} in the log")
        logged = (line["method"], line["path"], line["status"], line["bytes"], line["remote"])
        made = (case.method, case.path, case.status, len(answer.body), "127.0.0.1")
        self._require(logged == made, case, f"the log has {logged}, not {made}")

    def is_error(self, answer: _Answer, case: Case, code: str) -> None:
        """The response has the one form of errors, and every feature."""
        self._require(answer.status == case.status, case, f"status {answer.status}")
        body = self._json(answer, case)
        self._require(body.keys() == {"error", "code"}, case, f"body {body}")
        found = body["code"]
        self._require(found == code, case, f"code {found}, not {code}")
        self.has_features(answer, case)

    def has_errors_in_one_form(self) -> None:
        """No path, no row, and an exception that nobody expects, which the log explains."""
        no_row = Case("no row", "", "/rows/123456789", None, status=404)
        for case in (MISSING, no_row):
            self.is_error(self.ask(case), case, "NOT_FOUND")
        panic = Case("panic", "", "/panic", None, status=500)
        answer = self.ask(panic)
        self.is_error(answer, panic, "PANIC")
        line = self._line(answer.request_id, panic, "traceback")
        self._require(line["level"] == "error", panic, f"logged at {line['level']}")

    def refuses_other_origins(self) -> None:
        """No page but those of the one origin may read anything; caches are told, too."""
        for headers in ({}, {"Origin": "http://localhost:5174"}):
            answer = self.ask(HEALTH, headers)
            self._require("Origin" in (answer.headers["Vary"] or ""), HEALTH, "no Vary: Origin")
            allowed = answer.headers["Access-Control-Allow-Origin"]
            self._require(allowed is None, HEALTH, f"{headers} may read it")

    def answers_preflights(self) -> None:
        """A browser may ask before it sends what isn't simple."""
        case = Case("preflight", "", "/echo", None, status=204, method="OPTIONS")
        headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
        answer = self.ask(case, headers)
        self._require(answer.status == HTTPStatus.NO_CONTENT, case, f"status {answer.status}")
        methods = answer.headers["Access-Control-Allow-Methods"] or ""
        self._require("PUT" in methods, case, f"methods {methods!r}")

    # --- how ---

    def _line(self, request_id: str, case: Case, key: str) -> dict[str, Any]:
        """Return the line of the log that has ``key`` and belongs to a request."""
        assert self._server.log is not None
        deadline = time.monotonic() + _PATIENCE_SECS
        while time.monotonic() < deadline:
            for text in self._server.log.read_bytes().splitlines():
                if request_id.encode() in text and key.encode() in text:
                    line: dict[str, Any] = json.loads(text)
                    return line
            time.sleep(_POLL_SECS)
        raise Failure(self._fault(case, f"no line with {key} in the log"))

    def _json(self, answer: _Answer, case: Case) -> Any:
        kind = answer.headers.get_content_type()
        self._require(kind == "application/json", case, f"content type {kind}")
        return json.loads(answer.body)

    def _require(self, is_so: bool, case: Case, otherwise: str) -> None:
        if not is_so:
            raise Failure(self._fault(case, otherwise))

    def _fault(self, case: Case, what: str) -> str:
        return f"bench: {self._server.name}, {case.method} {case.path}: {what}"
