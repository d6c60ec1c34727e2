"""Two clocks: a monotonic one for everything that waits, and the wall clock for what is shown.

The wall clock may be set while the server runs.  It is for the Date header, the log, and times that
are stored; whoever needs it is given ``now``, a callable that returns the seconds since the epoch.
Everybody else is given ``clock``, which is a reactor or a test's.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ["use_monotonic_clock", "wall_time"]


def wall_time() -> float:
    """Return the seconds since the epoch, by the system's clock."""
    return time.time()


def use_monotonic_clock(reactor: Any) -> None:
    """Have ``reactor``, on which nothing is scheduled yet, wait by a clock that nobody sets.

    Twisted's own reactors wait by the wall clock.
    """
    reactor.seconds = time.monotonic
