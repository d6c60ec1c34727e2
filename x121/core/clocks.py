"""Two clocks: a monotonic clock for waiting, and the wall clock for times that are shown.

The wall clock may be changed while the server runs.  It is for the Date header, the log, and stored
times; code that needs it gets ``now``, a callable that returns the seconds since the epoch.  All
other code gets ``clock``, which is the reactor or a test's clock.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ["use_monotonic_clock", "wall_time"]


def wall_time() -> float:
    """Return the seconds since the epoch, by the system's clock."""
    return time.time()


def use_monotonic_clock(reactor: Any) -> None:
    """Make ``reactor``, on which nothing is scheduled yet, use the monotonic clock.

    Twisted's reactors use the wall clock.
    """
    reactor.seconds = time.monotonic
