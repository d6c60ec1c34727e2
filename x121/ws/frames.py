"""Fast path for messages in one whole frame (RFC 6455 section 5.2), incoming and outgoing.

These are pure functions on bytes.  A frame that is valid in every respect is parsed here;
everything else is left to Autobahn.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

__all__ = ["Message", "find_frame", "make_frame", "take_message"]

# The first byte of a message in one frame: FIN, no reserved bits, the opcode.
_TEXT, _BINARY = 0x81, 0x82
# The second byte: a bit for the mask, and the length, or 126 or 127 if the next bytes have it.
_MASKED = 0x80
_IN_2_BYTES, _IN_8_BYTES = 126, 127
_MIN_IN_2_BYTES, _MIN_IN_8_BYTES = 126, 65_536


Message = tuple[bytes, bool, int]
"""The payload of a message, True if it is binary, and the end of its frame."""


# --- in -----------------------------------------------------------------------------------


def find_frame(data: bytes, at: int) -> int | None:
    """Return the end of the frame at ``at``.

    Returns None while its head is incomplete; the head is assumed to have a mask.  The end may lie
    beyond the end of ``data``, by any amount that the client states.
    """
    available = len(data) - at
    if available < 6:
        return None
    size = data[at + 1] & ~_MASKED
    if size < _IN_2_BYTES:
        return at + 6 + size
    head = 8 if size == _IN_2_BYTES else 14
    if available < head:
        return None
    start = at + head
    return start + int.from_bytes(data[at + 2 : start - 4])


def take_message(data: bytes, at: int, max_bytes: int) -> Message | None:
    """Return the message in the frame at ``at``.

    Returns None if the frame is incomplete, a control frame, or a part of a message; if it has
    reserved bits, no mask, a payload of more than ``max_bytes``, or a length in more bytes than it
    needs; and for text that isn't UTF-8.
    """
    if len(data) - at < 6:
        return None
    first, size = data[at], data[at + 1] - _MASKED  # negative without a mask
    if size < 0 or (first != _TEXT and first != _BINARY):
        return None
    start = at + 6
    if size == _IN_2_BYTES:
        start += 2
        size = data[at + 2] << 8 | data[at + 3]
        if size < _MIN_IN_2_BYTES:
            return None
    elif size == _IN_8_BYTES:
        start += 8
        size = int.from_bytes(data[at + 2 : at + 10])
        if size < _MIN_IN_8_BYTES:
            return None
    end = start + size
    if size > max_bytes or end > len(data):
        return None
    if size > _MAX_FOR_NUMBERS:
        payload = _unmask_large(data[start:end], data[start - 4 : start])
    else:
        # The exclusive or of two large numbers: the frame from its mask on, and the mask repeated.
        masked = int.from_bytes(data[start - 4 : end])
        mask = (masked >> 8 * size) * _ONES[size + 7 >> 2] >> _EXCESS_BITS[size & 3]
        payload = (masked ^ mask).to_bytes(size)
    if first == _TEXT and not payload.isascii() and not _is_utf8(payload):
        return None
    return payload, first == _BINARY, end


def _is_utf8(payload: bytes) -> bool:
    """Return True if ``payload`` is UTF-8 by RFC 3629, as RFC 6455 requires; Python's is."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- masks (RFC 6455 section 5.3) -----------------------------------------------------------


# Up to this size, the exclusive or of two large numbers is faster.
_MAX_FOR_NUMBERS = 256
# A mask multiplied with one of these is repeated as often as the index says.
_ONES = [int.from_bytes(bytes((0, 0, 0, 1)) * times) for times in range(_MAX_FOR_NUMBERS // 4 + 2)]
# By the size of a payload modulo 4: the bits of the last mask that are too many.
_EXCESS_BITS = (0, 24, 16, 8)


@cache
def _native_masker() -> Any:
    """Return Autobahn's masker if it is in C, else None.

    Its functions are called directly, because the masker itself takes 2 us for each new mask.  It
    is imported when it is needed, like all of Autobahn.
    """
    from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]

    masker = create_xor_masker(bytes(4))
    return masker if hasattr(masker, "lib") else None


def _unmask_large(payload: bytes, mask: bytes) -> bytes:
    native = _native_masker()
    return _unmask_by_table(payload, mask) if native is None else _in_c(native, payload, mask)


def _in_c(native: Any, payload: bytes, mask: bytes) -> bytes:
    unmasked = bytearray(payload)
    masker = native.lib.nvx_xormask_new(mask)
    native.lib.nvx_xormask_process(masker, native.ffi.from_buffer(unmasked), len(unmasked))
    native.lib.nvx_xormask_free(masker)
    return bytes(unmasked)


_EVERY_BYTE = int.from_bytes(bytes(range(256)))
_XOR = [(_EVERY_BYTE ^ int.from_bytes(bytes([key]) * 256)).to_bytes(256) for key in range(256)]


def _unmask_by_table(payload: bytes, mask: bytes) -> bytes:
    unmasked = bytearray(payload)
    for first, byte in enumerate(mask):
        unmasked[first::4] = unmasked[first::4].translate(_XOR[byte])
    return bytes(unmasked)


# --- out ----------------------------------------------------------------------------------


# The heads of short frames, by the size of their payload.
_SHORT_HEADS = {
    first: [bytes((first, size)) for size in range(_MIN_IN_2_BYTES)] for first in (_TEXT, _BINARY)
}
_head_in_2_bytes = struct.Struct("!BBH").pack
_head_in_8_bytes = struct.Struct("!BBQ").pack


def make_frame(payload: bytes, *, is_binary: bool = False) -> bytes:
    """Return ``payload`` as a message in one frame, without a mask, as servers send it."""
    first = _BINARY if is_binary else _TEXT
    size = len(payload)
    if size < _MIN_IN_2_BYTES:
        return _SHORT_HEADS[first][size] + payload
    if size < _MIN_IN_8_BYTES:
        return _head_in_2_bytes(first, _IN_2_BYTES, size) + payload
    return _head_in_8_bytes(first, _IN_8_BYTES, size) + payload
