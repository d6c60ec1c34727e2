"""Numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Column", "comparison", "table", "verdict"]


@dataclass(frozen=True)
class Column:
    """Shows the attribute ``name`` of a result, times ``scale``, with ``digits`` decimals."""

    title: str
    name: str
    scale: float = 1.0
    digits: int = 0

    def value(self, result: object) -> float:
        """Return the number of ``result``."""
        value: Any = getattr(result, self.name)
        return float(value) * self.scale

    def text(self, result: object) -> str:
        """Return the number of ``result`` as it is shown."""
        return f"{self.value(result):,.{self.digits}f}"

    def ratio(self, ours: object, theirs: object) -> str:
        """Return how ``ours`` is to ``theirs``."""
        divisor = self.value(theirs)
        return f"{self.value(ours) / divisor:.2f}x" if divisor else "-"


def table(rows: Sequence[Sequence[str]], texts: Sequence[int] = (0,)) -> str:
    """Return ``rows`` in columns: ``texts`` are those of words, all others of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in texts else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def comparison(what: str, columns: Sequence[Column], results: Mapping[str, object]) -> str:
    """Return one row a server, and the first one's ratio to every other below."""
    rows = [[what, *(column.title for column in columns)]]
    for name, result in results.items():
        rows.append([name, *(column.text(result) for column in columns)])
    (name, ours), *others = results.items()
    for other, theirs in others:
        ratios = [column.ratio(ours, theirs) for column in columns]
        rows.append([f"{name} / {other}", *ratios])
    return table(rows)


def verdict(reached: bool) -> str:
    """Return whether a goal was reached."""
    return "reached" if reached else "MISSED"
