"""The one table, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.machine import file_name
from bench.processes import ROOT
from bench.programs import X121
from bench.result import Measured, Result
from bench.rounds import FULL_SHARE, Round
from bench.table import Column, table

__all__ = ["repeats_text", "results_table", "save"]

_FOLDER = ROOT / "bench" / "results"
_COLUMNS = (
    Column("per second", "per_sec"),
    Column("CPU us", "cpu_secs", 1e6, 1),
    Column("p50 ms", "p50_secs", 1e3, 2),
    Column("p99 ms", "p99_secs", 1e3, 2),
    Column("MiB", "resident_bytes", 1 / (1 << 20), 0),
    Column("server %", "server_share", 100, 0),
    Column("load %", "load_share", 100, 0),
)
_RATIOS = (Column("rate", "per_sec"), Column("CPU", "cpu_secs"))


def results_table(results: Sequence[Result]) -> str:
    """Return every result in one table: a line for each case, and below it one a server."""
    head = ["", *(column.title for column in _COLUMNS)]
    head += [f"fast: {column.title}" for column in _RATIOS]
    head += ["repeated", "disturbed"]
    rows = [head]
    for result in results:
        ours = result.by_name[X121.name].median
        rows += [[""] * len(head), [result.heading, *[""] * (len(head) - 1)]]
        rows += [_row(ours, one) for one in result.by_name.values()]
    return table(rows)


def _row(ours: Round, measured: Measured) -> list[str]:
    median = measured.median
    cells = [f"  {measured.title}", *(column.text(median) for column in _COLUMNS)]
    cells += [column.ratio(ours, median) for column in _RATIOS]
    return [*cells, *(str(one or "") for one in (measured.repeated, measured.disturbed))]


def repeats_text(results: Sequence[Result], rounds: int) -> str:
    """Return how many of the rounds, ``rounds`` for each server, were repeated, and why."""
    every = list(_every(results))
    repeated = sum(one.repeated for one in every)
    disturbed = sum(one.disturbed for one in every)
    share = f"{FULL_SHARE * 100:g} %"
    return (
        f"disturbed: the server had less than {share} of its core, and the load less than {share}"
        f" of the other\n{len(every) * rounds} rounds, {repeated} repetitions of disturbed ones,"
        f" {disturbed} disturbed to the end"
    )


def _every(results: Sequence[Result]) -> Iterator[Measured]:
    for result in results:
        yield from result.by_name.values()


def save(text: str) -> str:
    """Write ``text`` to a file named after the day and the machine, and return its path."""
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / file_name()
    path.write_text(f"# {path.stem}\n\nAs `make bench` printed it:\n\n```\n{text}\n```\n")
    return str(path.relative_to(ROOT))
