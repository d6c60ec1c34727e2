"""Rounds that take turns, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

__all__ = [
    "FULL_SHARE",
    "Round",
    "SteadyRounds",
    "in_turns",
    "median",
    "medians_in_turns",
    "percentiles",
]

FULL_SHARE = 0.9
"""The share of a core that counts as all of it."""

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Round:
    """The result of one round of load: of requests, or of messages.

    ``cpu_secs`` are the server's for each of them, ``resident_bytes`` its memory at the end, and
    ``load_share`` is how much of their core the load and the database used: near 1 they were the
    limit.
    """

    per_sec: float
    cpu_secs: float
    p50_secs: float
    p99_secs: float
    resident_bytes: float
    load_share: float

    @property
    def server_share(self) -> float:
        """How much of its core the server used: near 1 it was the limit, as it should be."""
        return self.per_sec * self.cpu_secs

    @property
    def is_disturbed(self) -> bool:
        """True if nothing here was the limit: the machine was busy with something else."""
        return self.server_share < FULL_SHARE and self.load_share < FULL_SHARE


class SteadyRounds:
    """The rounds of one server in one case: a disturbed one is repeated, ``most`` times at most.

    ``repeated`` counts the repetitions, and ``disturbed`` the rounds that stayed disturbed: of
    their repetitions, the one counts in which the server had most of its core.  Where the load
    doesn't fill a core (``fills_core``), a round that is disturbed can't be told from others.
    """

    def __init__(self, run: Callable[[], Round], most: int, fills_core: bool) -> None:
        self._run = run
        self._most = most
        self._fills_core = fills_core
        self.repeated = 0
        self.disturbed = 0

    def __call__(self) -> Round:
        """Return the result of a round."""
        best = self._run()
        if not self._fills_core:
            return best
        for _ in range(self._most):
            if not best.is_disturbed:
                break
            self.repeated += 1
            best = max(best, self._run(), key=lambda one: (not one.is_disturbed, one.server_share))
        self.disturbed += best.is_disturbed
        return best


def in_turns(candidates: Sequence[T], rounds: int) -> Iterator[T]:
    """Give every one of ``candidates`` once a round.

    Another one begins each time: the first after a pause may find a cooler machine.
    """
    for number in range(rounds):
        shift = number % len(candidates)
        yield from candidates[shift:]
        yield from candidates[:shift]


def medians_in_turns(candidates: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, T]:
    """Call every one of ``candidates`` once a round, and return the medians of what they gave."""
    results: dict[K, list[T]] = {name: [] for name in candidates}
    for name in in_turns(list(candidates), rounds):
        results[name].append(candidates[name]())
    return {name: median(found) for name, found in results.items()}


def median(rounds: Sequence[T]) -> T:
    """Return the median of each number by itself; ``T`` is a dataclass of numbers."""
    kind: Any = type(rounds[0])
    names = [field.name for field in fields(kind)]
    found: T = kind(**{n: statistics.median(getattr(one, n) for one in rounds) for n in names})
    return found


def percentiles(latencies_secs: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    hundredths = statistics.quantiles(latencies_secs, n=100, method="inclusive")
    return hundredths[49], hundredths[98]
