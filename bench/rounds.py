"""Rounds that take turns, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["in_turns", "median"]

T = TypeVar("T")


def in_turns(candidates: Sequence[T], rounds: int) -> Iterator[T]:
    """Give every one of ``candidates`` once a round.

    Another one begins each time: the first after a pause may find a cooler machine.
    """
    for number in range(rounds):
        shift = number % len(candidates)
        yield from candidates[shift:]
        yield from candidates[:shift]


def median(rounds: Sequence[T]) -> T:
    """Return the median of each number by itself; ``T`` is a dataclass of numbers."""
    kind: Any = type(rounds[0])
    names = [field.name for field in fields(kind)]
    found: T = kind(**{n: statistics.median(getattr(one, n) for one in rounds) for n in names})
    return found
