"""Fast path for messages in one whole frame (RFC 6455 section 5.2), incoming and outgoing.

These are pure functions on bytes.  A frame that is valid in every respect is parsed here;
everything else is left to Autobahn.
"""

from __future__ import annotations

import struct

__all__ = ["find_frame", "make_frame", "take_message", "unmask"]

# The first byte of a message in one frame (FIN, no reserved bits, the opcode), and True if binary.
_TEXT, _BINARY = 0x81, 0x82
_IS_BINARY = {_TEXT: False, _BINARY: True}
# The second byte: a bit for the mask, and the length, or 126 or 127 if the next bytes have it.
_MASKED = 0x80
_IN_2_BYTES, _IN_8_BYTES = 126, 127
_MIN_IN_2_BYTES, _MIN_IN_8_BYTES = 126, 65_536
_LEAST = {_MASKED | _IN_2_BYTES: _MIN_IN_2_BYTES, _MASKED | _IN_8_BYTES: _MIN_IN_8_BYTES}


# --- in -----------------------------------------------------------------------------------


def find_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the start and the end of the payload of the frame at ``at``.

    Returns None while its head is incomplete; the head is assumed to have a mask.  The end may lie
    beyond the end of ``data``, by any amount that the client states.
    """
    available = len(data) - at
    if available < 6:
        return None
    size = data[at + 1] & ~_MASKED
    if size < _IN_2_BYTES:
        return at + 6, at + 6 + size
    head = 8 if size == _IN_2_BYTES else 14
    if available < head:
        return None
    start = at + head
    return start, start + int.from_bytes(data[at + 2 : start - 4])


def take_message(data: bytes, at: int, start: int, end: int) -> tuple[bytes, bool] | None:
    """Return the payload of the frame at ``at``, and True if it is binary.

    The frame's payload is between ``start`` and ``end``.  Returns None if the frame is incomplete,
    a control frame, or a part of a message; if it has reserved bits, no mask, or a length in more
    bytes than it needs; and for text that isn't UTF-8.
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
    """Return True if ``payload`` is UTF-8 by RFC 3629, as RFC 6455 requires; Python's is."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- masks --------------------------------------------------------------------------------

# Up to this size, the exclusive or of two large numbers is fastest,
_MAX_FOR_NUMBERS = 768
# and from this size on, Autobahn's masker, if it is the one in C: creating it costs 3 us.
_MIN_FOR_AUTOBAHN = 3072


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return ``payload`` with its mask removed, or applied (RFC 6455 section 5.3)."""
    size = len(payload)
    if size <= _MAX_FOR_NUMBERS:
        return _unmask_as_number(payload, mask)
    if size < _MIN_FOR_AUTOBAHN:
        return _unmask_by_table(payload, mask)
    return _unmask_with_autobahn(payload, mask)


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


def _unmask_with_autobahn(payload: bytes, mask: bytes) -> bytes:
    # Not at start: x121.ws.protocol imports Autobahn, at the first handshake.
    from autobahn.websocket import USES_NVX
    from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]

    if not USES_NVX:
        return _unmask_by_table(payload, mask)
    unmasked: bytes = create_xor_masker(mask, len(payload)).process(payload)
    return unmasked


# --- out ----------------------------------------------------------------------------------


_head_in_2_bytes = struct.Struct("!BBH").pack
_head_in_8_bytes = struct.Struct("!BBQ").pack


def make_frame(payload: bytes, *, is_binary: bool = False) -> bytes:
    """Return ``payload`` as a message in one frame, without a mask, as servers send it."""
    first = _BINARY if is_binary else _TEXT
    size = len(payload)
    if size < _MIN_IN_2_BYTES:
        return bytes((first, size)) + payload
    if size < _MIN_IN_8_BYTES:
        return _head_in_2_bytes(first, _IN_2_BYTES, size) + payload
    return _head_in_8_bytes(first, _IN_8_BYTES, size) + payload
