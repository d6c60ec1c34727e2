"""Rounds of requests whose connections are new: see :mod:`bench.http.client`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.database import Database
from bench.http.cases import Case
from bench.processes import Failure, Server, environment
from bench.programs import ORIGIN
from bench.rounds import Round, percentiles

__all__ = ["run_bursts"]


def run_bursts(server: Server, db: Database, case: Case, seconds: int, folder: Path) -> Round:
    """Return the result of ``seconds`` of bursts of connections.

    Raises :class:`~bench.processes.Failure` for a request that fails or isn't in the log.
    """
    options = {
        "port": server.port,
        "path": case.path,
        "origin": ORIGIN,
        "seconds": seconds,
        "connections": case.connections,
        "requests_each": case.requests_each,
    }
    cpu_secs, db_secs = server.cpu_secs, db.cpu_secs
    done = subprocess.run(
        [sys.executable, "-m", "bench.http.client", json.dumps(options)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    cpu_secs, db_secs = server.cpu_secs - cpu_secs, db.cpu_secs - db_secs
    if done.returncode:
        raise Failure(f"bench: requests to {server.name} failed: {done.stderr}")
    result = json.loads(done.stdout)
    latencies_secs = [ns / 1e9 for ns in result["latencies_ns"]]
    server.take_log(len(latencies_secs))
    p50_secs, p99_secs = percentiles(latencies_secs)
    return Round(
        len(latencies_secs) / result["seconds"],
        cpu_secs / len(latencies_secs),
        p50_secs,
        p99_secs,
        server.resident_bytes,
        (result["cpu_secs"] + db_secs) / result["seconds"],
    )
