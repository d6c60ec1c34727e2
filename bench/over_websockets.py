"""``python -m bench websockets``: what WebSockets cost x121, beside a bare Autobahn server.

x121 runs as in production: every wrapper, a log of JSON lines, a pool on a real PostgreSQL.  The
clients are processes of our own, which do little else than wait.  Rounds take turns, and medians
are compared.  Goals are reported, and nothing fails for them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from bench.database import postgres
from bench.machine import choose_cores, describe, package_versions
from bench.processes import in_folder
from bench.programs import AUTOBAHN, X121, Place, Program
from bench.rounds import Round, median, medians_in_turns
from bench.table import table, verdict
from bench.ws import echo, idle, slow_reader
from bench.ws.fleet import Fleet, fleet, raise_open_files
from bench.ws.idle import KIB, MIB, Idle
from bench.ws.slow_reader import Fast, Slow
from bench.ws.targets import Target, target

__all__ = ["add_options", "run"]

GOAL_KIB_PER_CONNECTION = 15
GOAL_BROADCAST_CPU_SECS = 0.5
GOAL_SLOW_CODE = 1013
_SPARE_FILES = 200
_PACKAGES = ("twisted", "autobahn", "uvloop", "orjson")
_ECHO = "x" * 128
_PING = json.dumps({"type": "ping", "id": 1})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--connections", type=int, default=10_000, help="idle connections")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each server")
    parser.add_argument("--broadcasts", type=int, default=5, help="broadcasts in a round")
    parser.add_argument("--idle-secs", type=float, default=15, help="time to watch idle ones")
    parser.add_argument("--seconds", type=float, default=2, help="length of a round of echoes")
    parser.add_argument("--limit-secs", type=int, default=900, help="give up after this")
    parser.add_argument("--quick", action="store_true", help="one round with 1,000 connections")


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Measure, print and clean up."""
    if options.quick:
        options.connections = min(options.connections, 1000)
        options.rounds = options.seconds = 1
        options.idle_secs = min(options.idle_secs, 5)
    numbers = (options.connections, options.processes, options.rounds, options.broadcasts)
    if min(numbers) < 1 or min(options.idle_secs, options.seconds, options.limit_secs) <= 0:
        parser.error("every number is at least 1")
    signal.alarm(options.limit_secs)
    _limit_connections(options)
    cores = choose_cores()
    lines = describe(cores, "the clients", [package_versions(_PACKAGES)])
    print("\n".join(lines), end="\n\n", flush=True)
    cores.leave_server_alone()
    with in_folder() as folder, postgres(folder) as db:
        _Bench(Place(folder, db, cores, Path()), options).run()


def _limit_connections(options: argparse.Namespace) -> None:
    open_files = raise_open_files()
    most = max(1, open_files - _SPARE_FILES)
    options.fast_connections = min(slow_reader.CONNECTIONS, most)
    if options.connections > most:
        print(
            f"bench: a process may have {open_files} open files here (ulimit -Hn), too few for"
            f" {options.connections} connections: {most} are opened instead"
        )
        options.connections = most


class _Bench:
    """One run."""

    def __init__(self, place: Place, options: argparse.Namespace) -> None:
        self._place = place
        self._options = options

    def run(self) -> None:
        """Measure and print everything."""
        connections = self._options.connections
        idle_ones = self._measure_idle()
        print(f"\n{idle.idle_table(idle_ones, connections)}")
        print(f"\n{idle.broadcast_table(idle_ones, connections)}\n", flush=True)
        print(f"\n{echo.echo_table(self._measure_echo())}\n", flush=True)
        fast, slow = self._measure_slow_reader()
        print(f"\n{slow_reader.latency_table(fast, self._options.fast_connections)}\n")
        _print_goals(idle_ones[X121.title], connections, slow)

    # --- what runs ---

    @contextlib.contextmanager
    def _target(self, program: Program, **settings: str) -> Iterator[Target]:
        with self._place.run(program, settings) as server:
            yield target(program, server)

    def _fleet(self, aim: Target, processes: int) -> AbstractContextManager[Fleet]:
        return fleet(self._place.folder, aim.server, processes)

    # --- what is measured ---

    def _measure_idle(self) -> dict[str, Idle]:
        programs = {one.title: partial(self._idle_round, one) for one in (X121, AUTOBAHN)}
        return medians_in_turns(programs, self._options.rounds)

    def _idle_round(self, program: Program) -> Idle:
        options = self._options
        print(f"{options.connections:,} connections to {program.title} ...", flush=True)
        # A bare Autobahn has no heartbeat by default, and nothing to do.
        idle_secs = options.idle_secs if program is X121 else 0.0
        with self._target(program) as aim, self._fleet(aim, options.processes) as clients:
            return idle.measure(aim, clients, options.connections, options.broadcasts, idle_secs)

    def _measure_echo(self) -> dict[str, Round]:
        options = self._options
        with contextlib.ExitStack() as stack:
            x121 = stack.enter_context(self._target(X121))
            autobahn = stack.enter_context(self._target(AUTOBAHN))
            candidates = {}
            for name, aim, path, text in (
                ("x121 /ws/echo", x121, x121.echo_path, _ECHO),
                ("bare Autobahn", autobahn, autobahn.echo_path, _ECHO),
                ("x121 /ws, ping", x121, "/ws", _PING),
            ):
                clients = stack.enter_context(self._fleet(aim, 1))
                clients.open(path, echo.CONNECTIONS, talks=path == "/ws")
                echo.run_round(aim.server, clients, text, 1)  # warm-up
                candidates[name] = partial(
                    echo.run_round, aim.server, clients, text, options.seconds
                )
            print(f"{options.rounds} rounds of {options.seconds:g} s each ...", flush=True)
            return medians_in_turns(candidates, options.rounds)

    def _measure_slow_reader(self) -> tuple[dict[str, Fast], Slow]:
        rounds = self._options.rounds
        with_slow, without = [], []
        ends = []
        # Who reads nothing answers no ping either: it shall be closed for what waits for it.
        x121 = self._target(X121, WS_HEARTBEAT_INTERVAL_SECS="3600")
        with x121 as aim, self._fleet(aim, self._options.processes) as clients:
            clients.open(aim.path, self._options.fast_connections, talks=aim.talks)
            slow_reader.measure_without(aim, clients, 1)  # warm-up
            print(f"{rounds} rounds with a slow reader, and without ...", flush=True)
            for _ in range(rounds):
                with self._fleet(aim, 1) as slow:
                    fast, end, seconds = slow_reader.measure_with(aim, clients, slow)
                with_slow.append(fast)
                ends.append(end)
                without.append(slow_reader.measure_without(aim, clients, seconds))
        fast_ones = {"with one slow reader": median(with_slow), "without": median(without)}
        return fast_ones, median(ends)


def _print_goals(idle_ones: Idle, connections: int, slow: Slow) -> None:
    kib = idle_ones.bytes_per_connection / KIB
    secs = idle_ones.broadcast_cpu_secs
    rows = [
        ["x121", "measured", "goal", ""],
        [
            "memory per idle connection",
            f"{kib:.1f} KiB",
            f"<= {GOAL_KIB_PER_CONNECTION} KiB",
            verdict(kib <= GOAL_KIB_PER_CONNECTION),
        ],
        [
            f"broadcast to {connections:,}, CPU",
            f"{secs:.3f} s",
            f"< {GOAL_BROADCAST_CPU_SECS:g} s",
            verdict(secs < GOAL_BROADCAST_CPU_SECS),
        ],
        [
            "a slow reader is closed with",
            f"{slow.code:.0f}",
            f"{GOAL_SLOW_CODE}",
            verdict(slow.code == GOAL_SLOW_CODE),
        ],
    ]
    print(table(rows))
    print(
        f"\nIdle, x121 sent {idle_ones.pings_per_min:,.0f} pings a minute and used"
        f" {idle_ones.idle_cpu_secs_per_min:.2f} s of CPU for them and all else."
    )
    print(
        f"The slow reader was closed after {slow.seconds:.1f} s, when {slow.sent / MIB:.1f} MiB"
        f" were sent; it then read {slow.received / MIB:.1f} MiB of them."
    )
