"""The goals of x121, as ratios of numbers of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.programs import HTTP, STOCK, X121
from bench.result import Measured, Result
from bench.table import Column, table, verdict

__all__ = ["goals_table"]

CPU = Column("CPU", "cpu_secs")
RATE = Column("rate", "per_sec")
P99 = Column("p99", "p99_secs")

_PYTHON = tuple(one.name for one in HTTP if one.has_features and one not in (X121, STOCK))
"""The peers with features."""


class Goal(Protocol):
    """A ratio to reach."""

    def row(self, results: Mapping[str, Result]) -> list[str] | None:
        """Return the goal as a row of the table, or None if this run hasn't measured it."""


@dataclass(frozen=True)
class Lead:
    """x121 is to be at least ``ratio`` times better than the best of ``peers`` in ``case``.

    A cost is the better the lower it is, a rate the higher.  ``who`` is x121's name, or ``stock``.
    """

    case: str
    peers: tuple[str, ...]
    ratio: float
    stretch: float = 0.0
    by: Column = CPU
    who: str = X121.name

    def row(self, results: Mapping[str, Result]) -> list[str] | None:
        """Return the goal as a row of the table, or None if this run hasn't measured it."""
        result = results.get(self.case)
        by_name = {} if result is None else result.by_name
        peers = [by_name[peer] for peer in self.peers if peer in by_name]
        if result is None or not peers or self.who not in by_name:
            return None
        ours = by_name[self.who]
        best = min(peers, key=lambda peer: self._lead(ours, peer))
        lead = self._lead(ours, best)
        return [
            f"{result.heading}{'' if self.who == X121.name else f': {ours.title}'}",
            self.by.title,
            best.title,
            f"{lead:.2f}x",
            f">= {self.ratio:g}x",
            verdict(lead >= self.ratio),
            f">= {self.stretch:g}x {verdict(lead >= self.stretch)}" if self.stretch else "",
            _doubt(ours, best),
        ]

    def _lead(self, ours: Measured, theirs: Measured) -> float:
        our_value, their_value = self.by.value(ours.median), self.by.value(theirs.median)
        return our_value / their_value if self.by is RATE else their_value / our_value


@dataclass(frozen=True)
class Limit:
    """A request of ``case`` is to cost x121 at most ``ratio`` times one of ``base``."""

    case: str
    base: str
    ratio: float

    def row(self, results: Mapping[str, Result]) -> list[str] | None:
        """Return the goal as a row of the table, or None if this run hasn't measured it."""
        if not {self.case, self.base} <= results.keys():
            return None
        result, base = results[self.case], results[self.base]
        ours, of_base = result.by_name[X121.name], base.by_name[X121.name]
        ratio = ours.median.cpu_secs / of_base.median.cpu_secs
        return [
            result.heading,
            CPU.title,
            f"{of_base.title}, {base.title}",
            f"{ratio:.2f}x",
            f"<= {self.ratio:g}x",
            verdict(ratio <= self.ratio),
            "",
            _doubt(ours, of_base),
        ]


GOALS: tuple[Goal, ...] = (
    Lead("health", ("starlette",), 3.0),
    Lead("health", ("blacksheep",), 2.7),
    Lead("health", ("fastapi",), 6.5),
    Lead("health", ("rsgi",), 0.85, stretch=1.0),
    Lead("item", ("starlette",), 2.0, stretch=2.5),
    Lead("item", ("blacksheep",), 1.75),
    Lead("item", ("aiohttp",), 2.1),
    Lead("echo", ("starlette",), 1.7, stretch=2.0),
    Lead("echo", ("blacksheep",), 1.45),
    Limit("missing", "health", 1.3),
    Lead("row", ("starlette",), 1.6, stretch=2.0),
    Lead("row", ("fastapi",), 2.8),
    Lead("connect", _PYTHON, 2.0, by=P99),
    Lead("health", ("klein",), 1.2, by=RATE, who=STOCK.name),
    Lead("ws-echo-128", ("starlette",), 1.6, by=RATE),
    Lead("ws-echo-128", ("aiohttp",), 1.0, by=RATE),
    Lead("ws-broadcast-200", ("websockets",), 1.67),
)


def goals_table(results: Sequence[Result]) -> str:
    """Return each goal, the ratio of this run, and whether it was reached."""
    by_case = {result.case: result for result in results}
    rows = list(_rows(by_case))
    if not rows:
        return "No goal was measured."
    head = ["goals of x121", "by", "against", "measured", "goal", "", "stretch", ""]
    reached = sum(verdict(True) in row for row in rows)
    missing = len(GOALS) - len(rows)
    return (
        f"{table([head, *rows], texts=(0, 1, 2, 4, 5, 6, 7))}\n\n{reached} of {len(rows)} goals"
        f" reached{f'; {missing} not measured in this run' if missing else ''}"
    )


def _rows(results: Mapping[str, Result]) -> Iterator[list[str]]:
    for goal in GOALS:
        row = goal.row(results)
        if row is not None:
            yield row


def _doubt(*sides: Measured) -> str:
    """Return a note if a round of one of them was disturbed to the end."""
    return "disturbed" if any(one.disturbed for one in sides) else ""
