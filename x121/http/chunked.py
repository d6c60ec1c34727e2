"""Decoder of chunked bodies (RFC 9112 section 7.1), which rejects the first invalid byte.

The framing (sizes, extensions, trailer fields, line ends) is read byte by byte with a table made
from the grammar.  No byte is read twice, and only the incomplete line is kept, in whatever pieces
it arrives.  Extensions and trailer fields must be well formed and few; they are discarded.

Chunks that have arrived completely, as most small ones do, don't need the table: a regular
expression reads the size line, and their data is delivered together.
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
"""Limit of extensions before any data; each byte of data adds one byte."""
_TOO_MUCH = "The body's chunk extensions are too long"
MAX_TRAILER_BYTES = 32_768
MAX_TRAILER_FIELDS = 100

# RFC 9110 section 6.5.1: fields that would change the request's framing or routing.
_NOT_IN_TRAILERS = frozenset(
    b"connection content-length expect host te trailer transfer-encoding upgrade".split()
)

_HEX = string.hexdigits.encode()
_TOKEN = string.ascii_letters.encode() + string.digits.encode() + b"!#$%&'*+-.^_`|~"
_SPACE = b" \t"
_TEXT = b"\t" + bytes(byte for byte in range(0x20, 0x100) if byte != 0x7F)
_QUOTED = _TEXT.translate(None, b'"\\')
_CR, _LF = b"\r", b"\n"

# The bytes allowed in each state, and the next state.  A state in capitals is a stop, at which the
# decoder calls a method before it continues.
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


# A size line, with the same grammar as the table.
_TOKENS = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED_TEXT = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_VALUE = rb"[ \t]*+=[ \t]*+(?:" + _TOKENS + b"|" + _QUOTED_TEXT + b")"
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _TOKENS + b"(?:" + _VALUE + b")?+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})((?:%b)*+)\r\n" % (MAX_SIZE_DIGITS, _EXTENSION))

_TABLE = [_row(allowed) for allowed in _GRAMMAR.values()]
_DIGITS = re.compile(rb"[0-9A-Fa-f]+")


class ChunkedDecoder:
    """Decodes a chunked body; replaces Twisted's decoder, with the same methods.

    ``take`` is called with data as it arrives, ``finish`` once, with the input after the body, and
    ``expect`` with the number of bytes in one or several chunks before their data.
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
        """Decode ``data``, the next part of the body.

        Raises :class:`BadRequest` if it is invalid, :class:`HeadersTooLarge` if the trailer is too
        large, and :class:`RuntimeError` if the body has already ended.
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
        """Raise Twisted's ``_DataLoss`` if the input ended before the body's end."""
        if self._state != _NUMBER["END"]:
            raise _DataLoss("The connection was lost before the body's end")

    def _read_data(self, data: bytes, at: int) -> int:
        part = data[at : at + self._data_left]
        self._data_left -= len(part)
        self._take(part)
        return at + len(part)

    def _read_whole_chunks(self, data: bytes, at: int) -> int:
        """Read complete and valid chunks; return the position of the first other chunk."""
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
        """Read up to the next stop, and call its method; return the position after it."""
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

    # --- the methods called at the stops; each returns the next state ---

    def _size_is_known(self) -> str:
        digits = _DIGITS.match(self._line)[0]  # type: ignore[index]  # the grammar requires digits
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
            raise BadRequest("The trailer has a field that is allowed in the head only")
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
