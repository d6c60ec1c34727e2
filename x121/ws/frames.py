"""The fast lane: messages that come, or leave, in one whole frame (RFC 6455 section 5.2).

These are functions of bytes, which keep nothing.  A frame that is in order in every respect becomes
a message here; on everything else Autobahn has the word.
"""

from __future__ import annotations

import struct
import sys

from autobahn.websocket import USES_NVX
from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]

__all__ = ["find_frame", "make_frame", "take_message", "unmask"]

# The first byte of a message in one frame (FIN, no reserved bits, the opcode): is it binary?
_TEXT, _BINARY = 0x81, 0x82
_IS_BINARY = {_TEXT: False, _BINARY: True}
# The second byte: a bit for the mask, and the length, or that it is in the next 2 or 8 bytes.
_MASKED = 0x80
_IN_2_BYTES, _IN_8_BYTES = 126, 127
_MIN_IN_2_BYTES, _MIN_IN_8_BYTES = 126, 65_536
_LEAST = {_MASKED | _IN_2_BYTES: _MIN_IN_2_BYTES, _MASKED | _IN_8_BYTES: _MIN_IN_8_BYTES}


# --- in -----------------------------------------------------------------------------------


def find_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at ``at`` begins and ends.

    None while its head isn't there, which is taken for that of a masked frame.  The end may lie
    behind the end of ``data``, and how far is for the client to say.
    """
    known = len(data) - at
    if known < 6:
        return None
    size = data[at + 1] & ~_MASKED
    if size < _IN_2_BYTES:
        return at + 6, at + 6 + size
    head = 8 if size == _IN_2_BYTES else 14
    if known < head:
        return None
    start = at + head
    return start, start + int.from_bytes(data[at + 2 : start - 4])


def take_message(data: bytes, at: int, start: int, end: int) -> tuple[bytes, bool] | None:
    """Return the payload of the message that the frame at ``at`` is, and whether it is binary.

    The frame's payload is between ``start`` and ``end``.  None if the frame is not all there, is no
    message, or only a part of one; if it has reserved bits, no mask, or its length in more bytes
    than it takes; and for text that isn't UTF-8.
    """
    is_binary = _IS_BINARY.get(data[at])
    form = data[at + 1]
    if is_binary is None or form < _MASKED or end > len(data):
        return None
    if form in _LEAST and end - start < _LEAST[form]:
        return None
    payload = unmask(data[start:end], data[start - 4 : start])
    return (payload, is_binary) if is_binary or _is_utf8(payload) else None


def _is_utf8(payload: bytes) -> bool:
    """Return whether ``payload`` is UTF-8, by RFC 3629 as the RFC asks, and Python does."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- masks --------------------------------------------------------------------------------

# Up to here the exclusive or of two large numbers costs least,
_MAX_FOR_NUMBERS = 768
# and from here on Autobahn's masker, if it is the one in C: to make it costs 3 us.
_MIN_FOR_AUTOBAHN = 3072 if USES_NVX else sys.maxsize


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return ``payload`` without its mask, or with it (RFC 6455 section 5.3)."""
    size = len(payload)
    if size <= _MAX_FOR_NUMBERS:
        return _unmask_as_number(payload, mask)
    if size < _MIN_FOR_AUTOBAHN:
        return _unmask_by_table(payload, mask)
    unmasked: bytes = create_xor_masker(mask, size).process(payload)
    return unmasked


def _unmask_as_number(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)


_EVERY_BYTE = bytes(range(256))
_XOR = [_unmask_as_number(_EVERY_BYTE, bytes([byte] * 4)) for byte in _EVERY_BYTE]


def _unmask_by_table(payload: bytes, mask: bytes) -> bytes:
    unmasked = bytearray(payload)
    for first, byte in enumerate(mask):
        unmasked[first::4] = unmasked[first::4].translate(_XOR[byte])
    return bytes(unmasked)


# --- out ----------------------------------------------------------------------------------


_head_in_2_bytes = struct.Struct("!BBH").pack
_head_in_8_bytes = struct.Struct("!BBQ").pack


def make_frame(payload: bytes, *, is_binary: bool = False) -> bytes:
    """Return ``payload`` as a message in one frame, without a mask: a server's."""
    first = _BINARY if is_binary else _TEXT
    size = len(payload)
    if size < _MIN_IN_2_BYTES:
        return bytes((first, size)) + payload
    if size < _MIN_IN_8_BYTES:
        return _head_in_2_bytes(first, _IN_2_BYTES, size) + payload
    return _head_in_8_bytes(first, _IN_8_BYTES, size) + payload
