"""Messages that are answered: each client sends the next when it has the answer to the last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bench.servers import Server
from bench.table import Column, comparison
from bench.ws.fleet import Fleet

__all__ = ["CONNECTIONS", "ECHO", "PING", "Round", "echo_table", "run_round"]

CONNECTIONS = 32
ECHO = "x" * 128
PING = json.dumps({"type": "ping", "id": 1})

_COLUMNS = (
    Column("messages/s", "messages_per_sec"),
    Column("CPU us/message", "cpu_secs_per_message", 1e6, 1),
)


@dataclass(frozen=True)
class Round:
    """What one round gave."""

    messages_per_sec: float
    cpu_secs_per_message: float


def run_round(server: Server, clients: Fleet, text: str, seconds: float) -> Round:
    """Return what ``seconds`` of ``text`` gave."""
    cpu_secs = server.cpu_secs
    rate, messages = clients.echo(text, seconds)
    cpu_secs = server.cpu_secs - cpu_secs
    return Round(rate, cpu_secs / messages)


def echo_table(medians: Mapping[str, Round]) -> str:
    """Return what messages cost, one row a server."""
    return comparison(f"{CONNECTIONS} clients, closed loop", _COLUMNS, medians)
