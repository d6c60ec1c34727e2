"""Random, unguessable ids of requests and connections."""

from __future__ import annotations

import os

__all__ = ["make_id"]

# The number of ids per system call: a call for each would take longer than making it.
_AT_ONCE = 64

_ready: list[str] = []
# A forked child must not use the same ids as its parent.
os.register_at_fork(after_in_child=_ready.clear)


def make_id() -> str:
    """Return a random UUID, version 4 (RFC 9562 section 5.4), as text.

    The standard library's ``uuid4`` takes ten times as long.
    """
    try:
        return _ready.pop()
    except IndexError:
        _ready.extend(_make(os.urandom(16 * _AT_ONCE)))
        return _ready.pop()


def _make(random: bytes) -> list[str]:
    digits = (int.from_bytes(random) & _RANDOM | _FIXED).to_bytes(len(random)).hex()
    parts = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    return [f"{p[:8]}-{p[8:12]}-{p[12:16]}-{p[16:20]}-{p[20:]}" for p in parts]


# The version, 4, and the variant of RFC 9562 (sections 4.1 and 4.2), in each id.
_FIXED = int.from_bytes(bytes.fromhex("00000000000040008000000000000000") * _AT_ONCE)
_RANDOM = int.from_bytes(bytes.fromhex("ffffffffffff0fff3fffffffffffffff") * _AT_ONCE)
