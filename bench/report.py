"""The one table, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import goals
from bench.machine import file_name
from bench.processes import ROOT
from bench.programs import X121, Program
from bench.rounds import Round
from bench.table import Column, table

__all__ = ["Result", "results_table", "save"]

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


@dataclass(frozen=True)
class Result:
    """What one case gave: the medians of each program."""

    case: str
    title: str
    connections: int
    medians: Mapping[Program, Round]


def results_table(results: Sequence[Result]) -> str:
    """Return every result in one table: a line for each case, and below it one a server."""
    head = ["", *(column.title for column in _COLUMNS)]
    head += [f"fast: {column.title}" for column in _RATIOS]
    rows = [[*head, "goal of x121"]]
    for result in results:
        title = f"{result.title}, {result.connections:,} connections"
        rows += [[""] * len(rows[0]), [title, *[""] * len(head)], *_rows(result)]
    return table(rows, texts=(0, len(head)))


def _rows(result: Result) -> list[list[str]]:
    rounds = {program.name: one for program, one in result.medians.items()}
    said = goals.verdicts(result.case, result.connections, rounds)
    ours = rounds[X121.name]
    rows = []
    for program, one in result.medians.items():
        cells = [f"  {program.title}", *(column.text(one) for column in _COLUMNS)]
        cells += [column.ratio(ours, one) for column in _RATIOS]
        rows.append([*cells, said.get(program.name, "")])
    return rows


def save(text: str) -> str:
    """Write ``text`` to a file named after the day and the machine, and return its path."""
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / file_name()
    path.write_text(f"# {path.stem}\n\nAs `make bench` printed it:\n\n```\n{text}\n```\n")
    return str(path.relative_to(ROOT))
