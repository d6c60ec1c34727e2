"""The result of one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.rounds import Round

__all__ = ["Measured", "Result"]


@dataclass(frozen=True)
class Measured:
    """The median of one server's rounds.

    ``repeated`` is how often a round was repeated, and ``disturbed`` how many of the rounds that
    count were disturbed all the same.
    """

    title: str
    median: Round
    repeated: int
    disturbed: int


@dataclass(frozen=True)
class Result:
    """What was measured in one case, by the names of the programs."""

    case: str
    title: str
    connections: int
    by_name: Mapping[str, Measured]

    @property
    def heading(self) -> str:
        """The case in full."""
        return f"{self.title}, {self.connections:,} connections"
