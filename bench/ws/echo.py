"""Messages that are answered: each client sends the next when it has the answer to the last."""

from __future__ import annotations

from collections.abc import Mapping

from bench.processes import Server
from bench.rounds import Round, percentiles
from bench.table import Column, comparison
from bench.ws.fleet import Answers, Fleet

__all__ = ["CONNECTIONS", "echo_table", "run_round", "summary"]

CONNECTIONS = 32

_COLUMNS = (
    Column("messages/s", "per_sec"),
    Column("CPU us/message", "cpu_secs", 1e6, 1),
)


def run_round(server: Server, clients: Fleet, text: str, seconds: float) -> Round:
    """Return what ``seconds`` of ``text`` gave."""
    cpu_secs, load_secs = server.cpu_secs, clients.cpu_secs
    answers = clients.echo(text, seconds)
    cpu_secs, load_secs = server.cpu_secs - cpu_secs, clients.cpu_secs - load_secs
    return summary(server, answers, cpu_secs, load_secs)


def summary(server: Server, answers: Answers, cpu_secs: float, load_secs: float) -> Round:
    """Return ``answers``, and what they cost the server and the clients, as a round."""
    p50_secs, p99_secs = percentiles(answers.latencies_secs)
    return Round(
        answers.per_sec,
        cpu_secs / answers.count,
        p50_secs,
        p99_secs,
        server.resident_bytes,
        load_secs * answers.per_sec / answers.count,
    )


def echo_table(medians: Mapping[str, Round]) -> str:
    """Return what messages cost, one row a server."""
    return comparison(f"{CONNECTIONS} clients, closed loop", _COLUMNS, medians)
