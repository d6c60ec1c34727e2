"""Numbers as text."""

from __future__ import annotations

from collections.abc import Sequence

from bench.load import Round

__all__ = ["load_table", "table", "verdict"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )


def load_table(medians: dict[str, Round]) -> str:
    """Return one row a server, and the first one's ratio to every other below."""
    rows = [["GET /health", "requests/s", "CPU us/request", "p50 ms", "p99 ms"]]
    for name, one in medians.items():
        rows.append(
            [
                name,
                f"{one.requests_per_sec:,.0f}",
                f"{one.cpu_secs_per_request * 1e6:.1f}",
                f"{one.p50_secs * 1e3:.2f}",
                f"{one.p99_secs * 1e3:.2f}",
            ]
        )
    (name, ours), *others = medians.items()
    for other, theirs in others:
        rows.append(
            [
                f"{name} / {other}",
                f"{ours.requests_per_sec / theirs.requests_per_sec:.2f}x",
                f"{ours.cpu_secs_per_request / theirs.cpu_secs_per_request:.2f}x",
                f"{ours.p50_secs / theirs.p50_secs:.2f}x",
                f"{ours.p99_secs / theirs.p99_secs:.2f}x",
            ]
        )
    return table(rows)


def verdict(reached: bool) -> str:
    """Return whether a goal was reached."""
    return "reached" if reached else "MISSED"
