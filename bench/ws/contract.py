"""What the servers and the load have agreed upon."""

from __future__ import annotations

__all__ = ["BROADCAST", "EVENT", "PATH", "STAMP", "STAMP_DIGITS"]

PATH = "/ws/bench"
"""Where x121 has the endpoint that broadcasts."""

BROADCAST = "bench.broadcast"
"""The type of message that asks for a broadcast of its data."""

EVENT = "bench.event"
"""The event that everybody gets then."""

STAMP = b"stamp:"
"""What an event has before the time at which it was asked for, in ns of the monotonic clock."""

STAMP_DIGITS = 19
