"""The wall clock of a process, which a test may set: ``time.time`` is ahead of the system's.

:func:`install` comes before every other import, because many of them keep the function.
"""

from __future__ import annotations

import time

__all__ = ["install", "step"]

_system_time = time.time
_ahead = [0.0]


def install() -> None:
    """Put the clock in the place of ``time.time``."""
    time.time = lambda: _system_time() + _ahead[0]


def step(seconds: float) -> None:
    """Set the clock forward, or back."""
    _ahead[0] += seconds
