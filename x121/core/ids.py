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
        _ready.extend(_make(os.urandom(16 * _AT_ONCE).hex()))
        return _ready.pop()


def _make(digits: str) -> list[str]:
    parts = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    return [f"{p[:8]}-{p[8:12]}-4{p[13:16]}-{_VARIANTS[p[16]]}{p[17:20]}-{p[20:]}" for p in parts]


# The first two bits of this digit are 10 (RFC 9562 section 4.1); the other two stay random.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
