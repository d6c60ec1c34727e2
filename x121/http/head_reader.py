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

_SPECIAL = frozenset((b"Expect", b"Transfer-Encoding", b"Upgrade"))
_VERSIONS = frozenset((b"HTTP/1.0", b"HTTP/1.1"))


class HeadReader:
    """Reads one simple request, or the beginning of one; see :meth:`read`.

    The attributes are the result: the head is ``head_bytes`` long, and its body ``body_bytes``.
    """

    method: bytes
    target: bytes
    version: bytes
    is_persistent: bool
    head_bytes: int
    body_bytes: int

    def __init__(self) -> None:
        self._fields: dict[bytes, list[bytes]] = {}
        self._has_long_name = False
        self._begin()

    def _begin(self) -> None:
        """Discard llhttp's part of a request."""
        self._parser = HttpRequestParser(self)

    @property
    def headers(self) -> Headers:
        """The fields of the head."""
        return Headers.of(self._fields)

    def read(self, data: bytes) -> bool:
        """Read the head in ``data``, whose body may be incomplete.

        Returns False if the head isn't complete or simple, or if more than its body follows.
        """
        is_simple = self._read(data)
        is_whole = is_simple and len(data) == self.head_bytes + self.body_bytes
        if not (is_whole and self.is_persistent):
            self._begin()
        return is_simple

    def _read(self, data: bytes) -> bool:
        fields: dict[bytes, list[bytes]] = {}
        self._fields = fields
        self._has_long_name = False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        self.head_bytes = head_bytes = data.find(b"\r\n\r\n") + 4
        line = data[: data.find(b"\r\n")].split(b" ")
        if (
            not 4 <= head_bytes <= MAX_HEAD_BYTES
            or len(line) != 3
            or self._has_long_name
            or data.count(b"\r\n", 0, head_bytes) > MAX_HEAD_FIELDS + 2
            or not _SPECIAL.isdisjoint(fields)
        ):
            return False
        self.method, self.target, self.version = method, _, version = line
        if version not in _VERSIONS or not method.isalpha():  # llhttp skips empty lines
            return False
        self.is_persistent = version == b"HTTP/1.1"
        options = fields.get(b"Connection")
        if options is not None:
            option = b",".join(options).lower()
            if option == b"close":
                self.is_persistent = False
            elif option != b"keep-alive":
                return False
        lengths = fields.get(b"Content-Length")
        self.body_bytes = body_bytes = 0 if lengths is None else _length(lengths)
        return body_bytes >= 0 and len(data) <= head_bytes + body_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, without the trailing white space that llhttp leaves on its value."""
        if len(name) > MAX_NAME_BYTES:
            self._has_long_name = True  # rejected by Twisted's channel, and not cached
            return
        name = COMMON_NAMES.get(name) or canonical(name)
        value = value.rstrip(b" \t")
        if name in self._fields:
            self._fields[name].append(value)
        else:
            self._fields[name] = [value]


def _length(values: list[bytes]) -> int:
    """Return the Content-Length, or -1 if it isn't simple."""
    value = values[0]
    is_simple = len(values) == 1 and len(value) <= MAX_LENGTH and value.isdigit()
    return int(value) if is_simple else -1
