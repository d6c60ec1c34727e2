"""Rounds that take turns, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

__all__ = ["Round", "in_turns", "median", "medians_in_turns"]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Round:
    """What one round of load gave: of requests, or of messages.

    ``cpu_secs`` are the server's for each of them, ``resident_bytes`` its memory at the end, and
    ``load_share`` is how much of its core the load used: near 1 it was the limit.
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
