"""``python -m bench http``: x121 with everything on against a bare Klein site.

Both serve the same ``/health``.  x121 runs as in production: every wrapper, a pool on a real
PostgreSQL, and an access log of JSON lines that is written to a file, which is checked.  Rounds
of load take turns, so that a machine that gets slower does so for all, and medians are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from pathlib import Path

from bench import servers
from bench.load import Round, find_wrk, load_table, run_round, wrk_version
from bench.machine import choose_cores, describe, package_versions
from bench.rounds import in_turns, median
from bench.servers import Server
from bench.table import table, verdict
from x121.config import DbConfig

__all__ = ["add_options", "run"]

GOAL_RATIO = 0.8
GOAL_START_SECS = 1.0
GOAL_RESIDENT_MIB = 80
MIB = 1 << 20
_PACKAGES = ("twisted", "klein", "orjson", "psycopg2-binary")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each server")
    parser.add_argument("--seconds", type=int, default=3, help="length of a round")
    parser.add_argument("--starts", type=int, default=5, help="starts to measure")
    parser.add_argument("--quick", action="store_true", help="one short round and one start")


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Measure, print and clean up."""
    if options.quick:
        options.rounds = options.seconds = options.starts = 1
    if min(options.rounds, options.seconds, options.starts) < 1:
        parser.error("every number is at least 1")
    wrk = find_wrk()
    cores = choose_cores()
    versions = [*package_versions(*_PACKAGES), wrk_version(wrk)]
    print("\n".join(describe(cores, "wrk", versions)), end="\n\n", flush=True)
    with contextlib.ExitStack() as stack:
        _Bench(stack, wrk, *cores).run(options.rounds, options.seconds, options.starts)


class _Bench:
    """One run.  What it starts is stopped with ``stack``."""

    def __init__(
        self, stack: contextlib.ExitStack, wrk: str, server_core: int | None, load_core: int | None
    ) -> None:
        self._stack = stack
        self._wrk = wrk
        self._server_core = server_core
        self._load_core = load_core

    def run(self, rounds: int, seconds: int, starts: int) -> None:
        """Measure and print everything."""
        folder = self._stack.enter_context(servers.in_folder())
        db = self._stack.enter_context(servers.postgres(folder))
        print(f"starting x121 {starts} times ...", flush=True)
        start_secs = self._measure_starts(folder, db, starts)
        x121 = self._stack.enter_context(servers.x121(folder, db, self._server_core))
        peers = [
            self._stack.enter_context(
                servers.bare_klein(folder, self._server_core, with_log=with_log)
            )
            for with_log in (False, True)
        ]
        resident = [x121.resident_bytes]
        print(f"{rounds} rounds of {seconds} s each ...", end="\n\n", flush=True)
        medians = self._measure_load([x121, *peers], rounds, seconds)
        resident.append(x121.resident_bytes)
        print(load_table(medians), end="\n\n")
        _print_goals(medians, start_secs, resident)

    def _measure_starts(self, folder: Path, db: DbConfig, starts: int) -> float:
        seconds = []
        for _ in range(starts + 1):
            with servers.x121(folder, db, self._server_core) as server:
                seconds.append(server.start_secs)
        # The first one applied the migrations and wrote byte code.
        return statistics.median(seconds[1:])

    def _measure_load(
        self, candidates: list[Server], rounds: int, seconds: int
    ) -> dict[str, Round]:
        results: dict[str, list[Round]] = {server.name: [] for server in candidates}
        for server in candidates:
            run_round(self._wrk, server, 1, self._load_core)  # warm-up
        for server in in_turns(candidates, rounds):
            before = server.logged_requests() if server.access_log else 0
            result = run_round(self._wrk, server, seconds, self._load_core)
            results[server.name].append(result)
            if server.access_log and server.logged_requests() - before < result.requests:
                raise SystemExit(f"bench: {server.name} did not log every request")
        return {name: median(found) for name, found in results.items()}


def _print_goals(medians: dict[str, Round], start_secs: float, resident: list[int]) -> None:
    ours, *theirs = (one.requests_per_sec for one in medians.values())
    rows = [["x121", "measured", "goal", ""]]
    for name, peer in zip(list(medians)[1:], theirs, strict=True):
        ratio = ours / peer
        goal = f">= {GOAL_RATIO}x"
        rows.append([f"requests/s to {name}", f"{ratio:.2f}x", goal, verdict(ratio >= GOAL_RATIO)])
    goal = f"< {GOAL_START_SECS:g} s"
    rows.append(
        ["start to first 200", f"{start_secs:.2f} s", goal, verdict(start_secs < GOAL_START_SECS)]
    )
    for when, size in zip(("start", "load"), resident, strict=True):
        fits = size < GOAL_RESIDENT_MIB * MIB
        goal = f"< {GOAL_RESIDENT_MIB} MiB"
        rows.append([f"resident memory after {when}", f"{size / MIB:.1f} MiB", goal, verdict(fits)])
    print(table(rows))
