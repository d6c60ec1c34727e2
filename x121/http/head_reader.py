"""Reader of the heads of simple requests, on llhttp (httptools).

llhttp accepts or rejects the whole input.  The reader also leaves out what needs more than a
response, what the channel limits, and input that isn't exactly one request.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from x121.http.channel import MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_LENGTH
from x121.http.head import MAX_NAME_BYTES
from x121.http.headers import COMMON_NAMES, Headers, canonical

__all__ = ["HeadReader"]

_RARE = frozenset((b"Expect", b"Transfer-Encoding", b"Upgrade"))
_SPECIAL = _RARE | {b"Connection", b"Content-Length"}
_KEEP_ALIVE = (b"", b"keep-alive")


class HeadReader:
    """Reads one simple request, or the beginning of one; see :meth:`read`.

    The attributes are the result: the head is ``head_bytes`` long, and its body ``body_bytes``.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: Headers
    is_persistent: bool
    head_bytes = 0
    body_bytes = 0

    def __init__(self) -> None:
        self._fields: dict[bytes, list[bytes]] = {}
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        """Discard llhttp's part of a request."""
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> bool:
        """Read the head in ``data``, whose body may be incomplete.

        Returns False if the head isn't complete or simple, or if more than its body follows.
        """
        fields: dict[bytes, list[bytes]] = {}
        self._fields = fields
        self._count = 0
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._begin()
            return False
        self.headers = Headers.of(fields)
        self.body_bytes = 0
        is_simple = self._read_line(data) and (
            _SPECIAL.isdisjoint(fields) or self._read_options(fields)
        )
        missing_bytes = self.head_bytes + self.body_bytes - len(data)
        if not is_simple or missing_bytes or not self.is_persistent:
            self._begin()
        return is_simple and missing_bytes >= 0

    def _read_line(self, data: bytes) -> bool:
        """Read the request line; return False if the head isn't complete, or over a limit."""
        self.head_bytes = head_bytes = data.find(b"\r\n\r\n") + 4
        parts = data.split(b" ", 2)
        if head_bytes < 4 or head_bytes > MAX_HEAD_BYTES or len(parts) != 3:
            return False
        self.method, self.target, rest = parts
        if rest.startswith(b"HTTP/1.1\r\n"):
            self.version, self.is_persistent = b"HTTP/1.1", True
        elif rest.startswith(b"HTTP/1.0\r\n"):
            self.version, self.is_persistent = b"HTTP/1.0", False
        else:
            return False
        return self.method.isalpha() and self._count <= MAX_HEAD_FIELDS  # llhttp skips empty lines

    def _read_options(self, fields: dict[bytes, list[bytes]]) -> bool:
        """Read the fields that concern the connection; return False if they aren't simple."""
        options = b",".join(fields.get(b"Connection", ())).lower()
        if options == b"close":
            self.is_persistent = False
        elif options not in _KEEP_ALIVE:
            return False
        length = b",".join(fields.get(b"Content-Length", (b"0",)))
        if len(length) > MAX_LENGTH or not length.isdigit():
            return False
        self.body_bytes = int(length)
        return _RARE.isdisjoint(fields)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, without the trailing white space that llhttp leaves on its value."""
        self._count += 1
        if len(name) > MAX_NAME_BYTES:
            self._count += MAX_HEAD_FIELDS  # rejected by Twisted's channel, and not cached
            return
        name = COMMON_NAMES.get(name) or canonical(name)
        value = value.rstrip(b" \t")
        if name in self._fields:
            self._fields[name].append(value)
        else:
            self._fields[name] = [value]
