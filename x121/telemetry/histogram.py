"""Histogram with a bounded size: quantiles of any number of durations."""

from __future__ import annotations

import math

__all__ = ["ACCURACY", "LEAST", "MOST", "Histogram"]

ACCURACY = 0.01
"""The maximum relative error of a quantile."""

LEAST, MOST = 0.001, 86_400_000.0
"""Values are clamped to this range: from a microsecond to a day, in milliseconds."""

_RATIO = (1 + ACCURACY) / (1 - ACCURACY)
_PER_LOG = 1 / math.log(_RATIO)
_MIDDLE = 2 / (_RATIO + 1)


class Histogram:
    """Counts values in buckets, each wider than the previous one by the same ratio.

    The relative error of any quantile is at most :data:`ACCURACY`, and there are at most 1,262
    buckets.  This is DDSketch by Masson, Rim and Lee (VLDB 2019), https://arxiv.org/abs/1908.10693.
    """

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Count ``value``."""
        bucket = math.ceil(math.log(min(max(value, LEAST), MOST)) * _PER_LOG)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1

    def quantile(self, part: float) -> float | None:
        """Return the smallest value that ``part`` of all values don't exceed; None without values.

        ``part`` is above 0 and at most 1.
        """
        left = math.ceil(part * self.count)
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 0:
                return _MIDDLE * math.exp(bucket / _PER_LOG)
        return None
