"""The requests that every server gets, and the responses it must give."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "HEALTH", "MISSING", "Case"]


@dataclass(frozen=True)
class Case:
    """A request, sent over so many ``connections`` at a time.

    ``answer`` is what the body of its response decodes to, or None for an error in the one form.
    ``with_bare`` tells whether servers without features take part.  With ``requests_each`` a
    connection closes after so many requests, and connecting is measured too.
    """

    name: str
    title: str
    path: str
    answer: Any
    status: int = 200
    method: str = "GET"
    body: bytes = b""
    connections: int = 100
    with_bare: bool = False
    requests_each: int = 0


def _document(size: int) -> dict[str, Any]:
    """Return something like an order, of ``size`` bytes as compact JSON."""
    lines = [
        {"sku": f"A-{number:04}", "name": "a thing", "count": number, "price": number * 1.25}
        for number in range(1, 13)
    ]
    document = {"id": 7, "paid": True, "address": None, "lines": lines, "note": ""}
    document["note"] = "x" * (size - len(_encode(document)))
    assert len(_encode(document)) == size
    return document


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_ORDER = _document(1024)
_OK = {"status": "ok"}

HEALTH = Case("health", "GET /health", "/health", _OK, with_bare=True)
MISSING = Case("missing", "GET, 404", "/nothing/here", None, status=404)
CASES = (
    HEALTH,
    Case("item", "GET /items/<int>, coroutine, typed", "/items/7", {"id": 7}),
    Case("echo", "POST 1 KiB of JSON, typed", "/echo", _ORDER, method="POST", body=_encode(_ORDER)),
    MISSING,
    Case("row", "GET /rows/<int>, from the database", "/rows/7", {"id": 7, "title": "row 7"}),
    Case(
        "connect",
        "GET /health, connecting included",
        "/health",
        _OK,
        requests_each=10,
    ),
    # The last: it leaves more memory behind.
    Case("health-1000", "GET /health", "/health", _OK, connections=1000, with_bare=True),
)
