"""Rounds of load from wrk, and what they cost the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from bench.servers import Server, pinned
from bench.table import Column, comparison

__all__ = ["Round", "find_wrk", "load_table", "run_round", "wrk_version"]

CONNECTIONS = 32
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_COLUMNS = (
    Column("requests/s", "requests_per_sec"),
    Column("CPU us/request", "cpu_secs_per_request", 1e6, 1),
    Column("p50 ms", "p50_secs", 1e3, 2),
    Column("p99 ms", "p99_secs", 1e3, 2),
)


@dataclass(frozen=True)
class Round:
    """What one round gave; latencies are in seconds."""

    requests: float
    requests_per_sec: float
    cpu_secs_per_request: float
    p50_secs: float
    p99_secs: float


def find_wrk() -> str:
    """Return the path of wrk, or end the program with what to do."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench: wrk is not installed (Debian, Ubuntu: apt install wrk)")
    return wrk


def wrk_version(wrk: str) -> str:
    """Return the name and version of wrk."""
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])


def run_round(wrk: str, server: Server, seconds: int, core: int | None) -> Round:
    """Return what ``seconds`` of load on ``server`` gave.  Any failed request ends the program."""
    options = [f"-c{CONNECTIONS}", "-t1", f"-d{seconds}s", "--latency"]
    command = pinned([wrk, *options, f"http://127.0.0.1:{server.port}/health"], core)
    cpu_secs = server.cpu_secs
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu_secs = server.cpu_secs - cpu_secs
    text = done.stdout
    if done.returncode or "Socket errors" in text or "Non-2xx" in text:
        raise SystemExit(f"bench: requests to {server.name} failed:\n{text}{done.stderr}")
    requests = float(_find(r"(\d+) requests in", text))
    return Round(
        requests,
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        cpu_secs / requests,
        _seconds(_find(r"^ +50% +(\S+)", text)),
        _seconds(_find(r"^ +99% +(\S+)", text)),
    )


def load_table(medians: Mapping[str, Round]) -> str:
    """Return one row a server, and the first one's ratio to every other below."""
    return comparison("GET /health", _COLUMNS, medians)


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"bench: wrk printed something unexpected:\n{text}")
    return match[1]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * _UNITS[match[2]]
