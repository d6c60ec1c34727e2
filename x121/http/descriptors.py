"""Reserve of file descriptors for files, the database and the log.

A new connection gets the lowest free descriptor.  So a descriptor close to the process's limit
means that nearly all are in use.
"""

from __future__ import annotations

import resource
import sys

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["DescriptorReserve"]

_log = Logger(namespace="x121.http.descriptors")

# A turn of the reactor may accept 64 connections, and those that make room close two turns later.
MAX_RESERVE = 256
WARN_EVERY_SECS = 60.0


class DescriptorReserve:
    """Detects that descriptors run short, and logs how many connections were closed for that."""

    def __init__(self, *, clock: IReactorTime) -> None:
        self._clock = clock
        self._closed = 0
        self._refused = 0
        self._warned_at: float | None = None

    def is_touched_by(self, descriptor: int) -> bool:
        """Return True if ``descriptor`` belongs to the reserve: nearly all are in use."""
        limit = _limit()
        return descriptor >= limit - _reserve(limit)

    def note(self, *, closed: int = 0, refused: int = 0) -> None:
        """Count closed and refused connections, and log a warning, but not too often."""
        self._closed += closed
        self._refused += refused
        now = self._clock.seconds()
        if self._warned_at is None or now - self._warned_at >= WARN_EVERY_SECS:
            self._warned_at = now
            self._warn()

    def _warn(self) -> None:
        limit = _limit()
        _log.warn(
            "Nearly all {limit} file descriptors are in use: to keep {reserve} free, {closed} idle"
            " connections were closed and {refused} new ones refused (see RLIMIT_NOFILE)",
            limit=limit,
            reserve=_reserve(limit),
            closed=self._closed,
            refused=self._refused,
        )
        self._closed = self._refused = 0


def _limit() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _reserve(limit: int) -> int:
    return min(MAX_RESERVE, limit // 2)
