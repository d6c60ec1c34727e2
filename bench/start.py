"""``python -m bench start``: how soon x121 answers, and the memory it has then.

Each start applies no migration and compiles nothing: the first one, which does, isn't counted.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.database import postgres
from bench.machine import choose_cores, describe, package_versions
from bench.processes import in_folder
from bench.programs import STOCK, X121, Place, Program
from bench.rounds import medians_in_turns
from bench.table import table, verdict

__all__ = ["add_options", "run"]

GOAL_SECS = 1.0
GOAL_RESIDENT_MIB = 80
_MIB = 1 << 20


@dataclass(frozen=True)
class Start:
    """What one start gave."""

    seconds: float
    resident_bytes: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5, help="starts to measure (5)")


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Measure, print and clean up."""
    if options.rounds < 1:
        parser.error("every number is at least 1")
    cores = choose_cores()
    print("\n".join(describe(cores, "all else", [package_versions(["twisted"])])), end="\n\n")
    cores.leave_server_alone()
    with in_folder() as folder, postgres(folder) as db:
        place = Place(folder, db, cores, Path())
        programs = {one.title: lambda one=one: _start(place, one) for one in (X121, STOCK)}
        for start in programs.values():
            start()
        medians = medians_in_turns(programs, options.rounds)
    rows = [["", "to first answer", f"< {GOAL_SECS:g} s", "memory", f"< {GOAL_RESIDENT_MIB} MiB"]]
    for title, one in medians.items():
        mib = one.resident_bytes / _MIB
        cells = [f"{one.seconds:.2f} s", verdict(one.seconds < GOAL_SECS)]
        rows.append([title, *cells, f"{mib:.1f} MiB", verdict(mib < GOAL_RESIDENT_MIB)])
    print(table(rows))


def _start(place: Place, program: Program) -> Start:
    with place.run(program) as server:
        return Start(server.start_secs, server.resident_bytes)
