"""Quantiles, which are as accurate as is said, whatever the values."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from x121.telemetry.histogram import ACCURACY, LEAST, MOST, Histogram

durations = st.floats(0, 2 * MOST)


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


class HistogramTests(SynchronousTestCase):
    @settings(deadline=None)  # the machine may be busy
    @given(st.lists(durations, min_size=1), st.floats(0, 1, exclude_min=True))
    def test_accuracy(self, values: list[float], part: float) -> None:
        """A quantile is the value of that rank, to a hundredth of it."""
        rank = math.ceil(part * len(values))
        true = min(max(sorted(values)[rank - 1], LEAST), MOST)
        found = histogram(values).quantile(part)
        assert found is not None
        self.assertLessEqual(abs(found - true), ACCURACY * true * (1 + 1e-9))

    def test_ranks(self) -> None:
        """Half of a hundred values are no more than p50, and ninety-nine no more than p99."""
        made = histogram([float(value) for value in range(1, 101)])
        self.assertEqual(made.count, 100)
        for part, true in ((0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)):
            found = made.quantile(part) or 0
            self.assertLessEqual(abs(found - true), true * ACCURACY * (1 + 1e-9))

    def test_nothing(self) -> None:
        """Of nothing there is no quantile."""
        self.assertIsNone(Histogram().quantile(0.5))

    def test_room(self) -> None:
        """However many and however different the values are, there are 1,262 buckets at most."""
        steps = 20_000
        ratio = (MOST / LEAST) ** (1 / steps)
        made = histogram([0.0, math.inf, *(LEAST * ratio**step for step in range(steps))])
        self.assertEqual(made.count, steps + 2)
        self.assertLessEqual(len(made._counts), 1262)
        self.assertGreater(len(made._counts), 1200)
