"""``python -m bench``: x121 beside its peers, in one table.

Every server of a kind runs at once, but only one at a time is under load.  Rounds take turns, so
that a machine that gets slower does so for all, and medians are compared.  Before anything is
measured each server is checked to do all that the others do.  A round in which the machine was busy
with something else is repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bench.database import postgres
from bench.goals import goals_table
from bench.http.cases import CASES as REQUESTS
from bench.http.load import find_wrk, wrk_version
from bench.http.requests import Requests
from bench.machine import choose_cores, describe, package_versions
from bench.processes import ROOT, Failure, Server, in_folder
from bench.programs import HTTP, WEBSOCKETS, X121, Place, Program
from bench.report import repeats_text, results_table, save
from bench.result import Measured, Result
from bench.rounds import Round, SteadyRounds, medians_in_turns
from bench.ws.cases import CASES as MESSAGES
from bench.ws.fleet import raise_open_files
from bench.ws.messages import Messages

__all__ = ["add_options", "run"]

_OURS = (
    *("twisted", "klein", "autobahn", "uvloop", "httptools", "orjson", "pydantic"),
    "psycopg2-binary",
)
_PEERS = (
    *("uvicorn", "granian", "fastapi", "starlette", "blacksheep", "aiohttp", "websockets"),
    *("picows", "uvloop", "httptools", "orjson", "pydantic", "asyncpg", "socketify", "robyn"),
)
_WARM_UP_SECS = 1


class Load(Protocol):
    """A kind of load: its servers, its cases, and how both come together."""

    @property
    def programs(self) -> Sequence[Program]: ...

    @property
    def cases(self) -> Sequence[Any]: ...

    def takes_part(self, program: Program, case: Any) -> bool: ...

    def fills_core(self, case: Any) -> bool: ...

    def check(self, program: Program, server: Server) -> None: ...

    def round(self, program: Program, server: Server, case: Any, seconds: int) -> Round: ...


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    cases = [case.name for case in (*REQUESTS, *MESSAGES)]
    peers = list(dict.fromkeys(one.name for one in (*HTTP, *WEBSOCKETS) if one is not X121))
    several: dict[str, Any] = {"action": "append", "metavar": "NAME"}
    parser.add_argument("--case", choices=cases, **several, help=f"of {', '.join(cases)}")
    parser.add_argument("--peer", choices=peers, **several, help=f"of {', '.join(peers)}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each server (3)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a round (2)")
    parser.add_argument(
        "--repeats", type=int, default=2, help="repetitions of a disturbed round, at most (2)"
    )
    parser.add_argument("--save", action="store_true", help="keep the table in bench/results")
    parser.add_argument(
        "--venv",
        type=Path,
        default=ROOT / ".venv-bench",
        help="the environment that bench/requirements.txt is installed in (.venv-bench)",
    )


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Measure, print and clean up."""
    if min(options.rounds, options.seconds) < 1 or options.repeats < 0:
        parser.error("--rounds and --seconds are at least 1, --repeats at least 0")
    venv = options.venv.absolute()
    if not (venv / "bin" / "python").exists():
        parser.error(f"there is no {venv}: `make bench` makes it")
    requests = [case for case in REQUESTS if options.case is None or case.name in options.case]
    messages = [case for case in MESSAGES if options.case is None or case.name in options.case]
    wrk = find_wrk() if requests else ""
    load = ", ".join([*([wrk_version(wrk)] if wrk else []), "bench.ws.client"])
    cores = choose_cores()
    raise_open_files()
    versions = [package_versions(_OURS), f"peers: {package_versions(_PEERS, venv)}"]
    text = "\n".join(describe(cores, f"the load ({load})", versions))
    _tell(text)
    cores.leave_server_alone()
    with in_folder() as folder, postgres(folder) as db:
        place = Place(folder, db, cores, venv)
        loads = (Requests(wrk, place, requests), Messages(place, messages))
        left_out: dict[Program, str] = {}
        results = [result for one in loads for result in _measure(one, place, options, left_out)]
    text += "".join(f"\nleft out  {one.title}: {why}" for one, why in left_out.items())
    text += f"\n\n{options.rounds} rounds of {options.seconds} s each, medians\n\n"
    text += f"{results_table(results)}\n\n{repeats_text(results, options.rounds)}\n\n"
    text += goals_table(results)
    print(text)
    if options.save:
        _tell(f"saved in {save(text)}")


def _measure(
    load: Load, place: Place, options: argparse.Namespace, left_out: dict[Program, str]
) -> Iterator[Result]:
    if not load.cases:
        return
    programs = [
        program
        for program in load.programs
        if options.peer is None or program is X121 or program.name in options.peer
    ]
    with contextlib.ExitStack() as stack:
        servers = {}
        for program in programs:
            _tell(f"{program.title}: starting and checking")
            with _or_left_out(program, left_out):
                server = stack.enter_context(place.run(program))
                load.check(program, server)
                servers[program] = server
        for case in load.cases:
            _tell(f"{case.title}, {case.connections:,} connections")
            yield _measure_case(load, servers, case, options, left_out)


def _measure_case(
    load: Load,
    servers: dict[Program, Server],
    case: Any,
    options: argparse.Namespace,
    left_out: dict[Program, str],
) -> Result:
    rounds = {}
    for program, server in servers.items():
        if load.takes_part(program, case) and program not in left_out:
            with _or_left_out(program, left_out):
                load.round(program, server, case, _WARM_UP_SECS)
                run = partial(load.round, program, server, case, options.seconds)
                rounds[program] = SteadyRounds(run, options.repeats, load.fills_core(case))
    medians = medians_in_turns(rounds, options.rounds)
    by_name = {
        program.name: Measured(
            program.title, median, rounds[program].repeated, rounds[program].disturbed
        )
        for program, median in medians.items()
    }
    return Result(case.name, case.title, case.connections, by_name)


@contextlib.contextmanager
def _or_left_out(program: Program, left_out: dict[Program, str]) -> Iterator[None]:
    """Leave out a server that fails, with the reason, if it is optional."""
    try:
        yield
    except Failure as failure:
        if not program.is_optional:
            raise
        left_out[program] = str(failure).strip().splitlines()[-1].removeprefix("bench: ")
        _tell(f"{program.title} is left out: {left_out[program]}")


def _tell(text: str) -> None:
    """Show how far it is; the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)
