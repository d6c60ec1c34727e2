"""Bodies in chunks (RFC 9112 section 7.1), refused at the first byte that can't be part of one.

Whatever frames the data (sizes, extensions, trailer fields, line ends) goes byte by byte through
a table made of the grammar: nothing is looked at twice, and only the line that has begun is kept,
in whatever pieces it comes.  Extensions and trailer fields mean nothing here.  They must be well
formed, and few, and are thrown away.

Chunks that are there as a whole, which small ones mostly are, don't need the table: one regular
expression reads the line of a size, and their data is taken together.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from typing import ClassVar

from twisted.web.http import _DataLoss

from x121.errors import BadRequest, HeadersTooLarge

__all__ = ["ChunkedDecoder"]

MAX_SIZE_DIGITS = 16
MAX_EXTENSION_BYTES = 1024
"""So much of extensions may come before any data, and one byte more with each byte of data."""
_TOO_MUCH = "The body has too much of chunk extensions"
MAX_TRAILER_BYTES = 32_768
MAX_TRAILER_FIELDS = 100

# RFC 9110 section 6.5.1: what would change where the request ends, or for whom it is.
_NOT_IN_TRAILERS = frozenset(
    b"connection content-length expect host te trailer transfer-encoding upgrade".split()
)

_HEX = string.hexdigits.encode()
_TOKEN = string.ascii_letters.encode() + string.digits.encode() + b"!#$%&'*+-.^_`|~"
_SPACE = b" \t"
_TEXT = b"\t" + bytes(byte for byte in range(0x20, 0x100) if byte != 0x7F)
_QUOTED = _TEXT.translate(None, b'"\\')
_CR, _LF = b"\r", b"\n"

# What may come in each state, and where it leads.  What is in capitals is a stop, where the
# decoder has something to do before it goes on.
_BEHIND_SIZE = {_SPACE: "gap", b";": "extension", _CR: "size's CR"}
_GRAMMAR: dict[str, Mapping[bytes, str]] = {
    "size": {_HEX: "size 1"},
    **{f"size {n}": {_HEX: f"size {n + 1}", **_BEHIND_SIZE} for n in range(1, MAX_SIZE_DIGITS)},
    f"size {MAX_SIZE_DIGITS}": _BEHIND_SIZE,
    "gap": {_SPACE: "gap", b";": "extension"},
    "extension": {_SPACE: "extension", _TOKEN: "name"},
    "name": {_TOKEN: "name", b"=": "equals", **_BEHIND_SIZE, _SPACE: "name's gap"},
    "name's gap": {_SPACE: "name's gap", b"=": "equals", b";": "extension"},
    "equals": {_SPACE: "equals", _TOKEN: "value", b'"': "quoted"},
    "value": {_TOKEN: "value", **_BEHIND_SIZE},
    "quoted": {_QUOTED: "quoted", b"\\": "escape", b'"': "quote's end"},
    "escape": {_TEXT: "quoted"},
    "quote's end": _BEHIND_SIZE,
    "size's CR": {_LF: "SIZE"},
    "data's end": {_CR: "data's CR"},
    "data's CR": {_LF: "CHUNK"},
    "trailer": {_TOKEN: "field", _CR: "trailer's CR"},
    "field": {_TOKEN: "field", b":": "NAMED"},
    "text": {_TEXT: "text", _CR: "field's CR"},
    "field's CR": {_LF: "FIELD"},
    "trailer's CR": {_LF: "END"},
}
_STATES = (*_GRAMMAR, "SIZE", "CHUNK", "NAMED", "FIELD", "END", "WRONG")
_NUMBER = {state: number for number, state in enumerate(_STATES)}
_FIRST_STOP = _NUMBER["SIZE"]


def _row(allowed: Mapping[bytes, str]) -> list[int]:
    row = [_NUMBER["WRONG"]] * 256
    for some, state in allowed.items():
        for byte in some:
            row[byte] = _NUMBER[state]
    return row


# A line that the table would let pass as well.
_TOKENS = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED_TEXT = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_VALUE = rb"[ \t]*+=[ \t]*+(?:" + _TOKENS + b"|" + _QUOTED_TEXT + b")"
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _TOKENS + b"(?:" + _VALUE + b")?+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})((?:%b)*+)\r\n" % (MAX_SIZE_DIGITS, _EXTENSION))

_TABLE = [_row(allowed) for allowed in _GRAMMAR.values()]
_DIGITS = re.compile(rb"[0-9A-Fa-f]+")


class ChunkedDecoder:
    """Takes a body in chunks apart; in place of Twisted's own, with the same methods.

    ``take`` is called with data as it comes, ``finish`` once, with what came behind the body,
    and ``expect`` with the number of bytes in one chunk or several before their data comes.
    """

    def __init__(
        self,
        take: Callable[[bytes], object],
        finish: Callable[[bytes], object],
        expect: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._take = take
        self._finish = finish
        self._expect = expect
        self._state = _NUMBER["size"]
        self._line = bytearray()
        self._data_left = 0
        self._extension_bytes_left = MAX_EXTENSION_BYTES
        self._is_trailer = False
        self._trailer_bytes = self._trailer_fields = 0

    def dataReceived(self, data: bytes) -> None:
        """Read on.

        Raises :class:`BadRequest` where ``data`` can't be what comes next, or
        :class:`HeadersTooLarge` for too large a trailer, and :class:`RuntimeError` once the body
        has ended.
        """
        at = 0
        while at < len(data):
            if self._data_left:
                at = self._read_data(data, at)
            elif self._state == _NUMBER["END"]:
                raise RuntimeError("dataReceived() after the body's end")
            else:
                if self._state == _NUMBER["size"]:
                    at = self._read_whole_chunks(data, at)
                at = self._read_framing(data, at)

    def noMoreData(self) -> None:
        """Note that nothing more comes.  Raises Twisted's ``_DataLoss`` before the body's end."""
        if self._state != _NUMBER["END"]:
            raise _DataLoss("The connection was lost before the body's end")

    def _read_data(self, data: bytes, at: int) -> int:
        part = data[at : at + self._data_left]
        self._data_left -= len(part)
        self._take(part)
        return at + len(part)

    def _read_whole_chunks(self, data: bytes, at: int) -> int:
        """Read chunks that are all there and in order; return where the first other one begins."""
        parts = []
        read_line, extension_bytes_left = _SIZE_LINE.match, self._extension_bytes_left
        while (line := read_line(data, at)) is not None:
            digits, extensions = line.groups()
            size = int(digits, 16)
            start = line.end()
            end = start + size
            if not size or data[end : end + 2] != b"\r\n":
                break
            if extensions and len(extensions) > extension_bytes_left:
                break
            extension_bytes_left += size - len(extensions)
            if extension_bytes_left > MAX_EXTENSION_BYTES:
                extension_bytes_left = MAX_EXTENSION_BYTES
            parts.append(data[start:end])
            at = end + 2
        if parts:
            self._extension_bytes_left = extension_bytes_left
            together = b"".join(parts)
            self._expect(len(together))
            self._take(together)
        return at

    def _read_framing(self, data: bytes, at: int) -> int:
        """Read up to the next stop, and do what is to be done there; return where to read on."""
        state, end = self._state, at
        while state < _FIRST_STOP and end < len(data):
            state = _TABLE[state][data[end]]
            end += 1
        self._state = state
        self._line += data[at:end]
        self._check_length()
        if state == _NUMBER["END"]:
            self._finish(data[end:])
            return len(data)
        if state >= _FIRST_STOP:
            self._state = _NUMBER[self._AT_STOP[state](self)]
        return end

    def _check_length(self) -> None:
        if self._is_trailer:
            if self._trailer_bytes + len(self._line) > MAX_TRAILER_BYTES:
                raise HeadersTooLarge(f"The trailer is larger than {MAX_TRAILER_BYTES} bytes")
        elif len(self._line) > MAX_SIZE_DIGITS + self._extension_bytes_left + len(b"\r\n"):
            raise BadRequest(_TOO_MUCH)

    # --- what is to be done at each stop; each returns the state behind it ---

    def _size_is_known(self) -> str:
        digits = _DIGITS.match(self._line)[0]  # type: ignore[index]  # so says the grammar
        size = int(digits, 16)
        left = self._extension_bytes_left - (len(self._line) - len(digits) - len(b"\r\n"))
        if left < 0:
            raise BadRequest(_TOO_MUCH)
        self._extension_bytes_left = min(left + size, MAX_EXTENSION_BYTES)
        self._line.clear()
        if size == 0:
            self._is_trailer = True
            return "trailer"
        self._data_left = size
        self._expect(size)
        return "data's end"

    def _chunk_is_over(self) -> str:
        self._line.clear()
        return "size"

    def _field_is_named(self) -> str:
        if bytes(self._line[:-1]).lower() in _NOT_IN_TRAILERS:
            raise BadRequest("The trailer has a field that belongs into the head")
        return "text"

    def _field_is_over(self) -> str:
        self._trailer_bytes += len(self._line)
        self._trailer_fields += 1
        if self._trailer_fields > MAX_TRAILER_FIELDS:
            raise HeadersTooLarge(f"The trailer has more than {MAX_TRAILER_FIELDS} fields")
        self._line.clear()
        return "trailer"

    def _is_wrong(self) -> str:
        raise BadRequest("The body's chunks are malformed")

    _AT_STOP: ClassVar[dict[int, Callable[[ChunkedDecoder], str]]] = {
        _NUMBER["SIZE"]: _size_is_known,
        _NUMBER["CHUNK"]: _chunk_is_over,
        _NUMBER["NAMED"]: _field_is_named,
        _NUMBER["FIELD"]: _field_is_over,
        _NUMBER["WRONG"]: _is_wrong,
    }
