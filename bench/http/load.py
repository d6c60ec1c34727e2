"""Rounds of requests from wrk, and what they cost the server."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

from bench.database import Database
from bench.http.cases import Case
from bench.processes import Failure, Server
from bench.programs import ORIGIN
from bench.rounds import Round

__all__ = ["find_wrk", "run_round", "wrk_version"]

_TIMEOUT_SECS = 10  # what is late, but comes, is a latency and no failure
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_POST = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]
"""


def find_wrk() -> str:
    """Return the path of wrk, or end the program with what to do."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit(
            "bench: wrk is not installed (Debian, Ubuntu: apt install wrk);"
            " --case can leave out what needs it"
        )
    return wrk


def wrk_version(wrk: str) -> str:
    """Return the name and version of wrk."""
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])


def run_round(
    wrk: str, server: Server, db: Database, case: Case, seconds: int, folder: Path
) -> Round:
    """Return the result of ``seconds`` of load on ``server``.

    Raises :class:`~bench.processes.Failure` for a request that fails or isn't in the log.
    """
    command = [wrk, f"-c{case.connections}", "-t1", f"-d{seconds}s", "--latency"]
    command += [f"--timeout={_TIMEOUT_SECS}s", "-H", f"Origin: {ORIGIN}"]
    if case.body:
        script = folder / f"{case.name}.lua"
        script.write_text(_POST.format(body=case.body.decode()))
        command += ["-s", str(script)]
    cpu_secs, db_secs = server.cpu_secs, db.cpu_secs
    load_secs, begun = _children_secs(), time.monotonic()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{case.path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    elapsed = time.monotonic() - begun
    cpu_secs, db_secs = server.cpu_secs - cpu_secs, db.cpu_secs - db_secs
    load_secs = _children_secs() - load_secs
    text = done.stdout
    requests = int(_find(r"(\d+) requests in", text))
    if (
        done.returncode
        or "Socket errors" in text
        or _refused(text) != requests * (case.status >= 300)
    ):
        raise Failure(f"bench: requests to {server.name} failed:\n{text}{done.stderr}")
    server.take_log(requests)
    return Round(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        cpu_secs / requests,
        _seconds(_find(r"^ +50% +(\S+)", text)),
        _seconds(_find(r"^ +99% +(\S+)", text)),
        server.resident_bytes,
        (load_secs + db_secs) / elapsed,
    )


def _children_secs() -> float:
    """Return the CPU time of the children that have ended: each round has a wrk of its own."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _refused(text: str) -> int:
    found = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return int(found[1]) if found else 0


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"bench: wrk printed something unexpected:\n{text}")
    return match[1]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * _UNITS[match[2]]
