"""How the servers under load are spoken to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from bench.processes import Server
from bench.programs import STOCK, X121, Program
from bench.ws.contract import BROADCAST, EVENT, PATH, STAMP, STAMP_DIGITS

__all__ = ["Target", "target"]


@dataclass(frozen=True)
class Target:
    """A server: at ``path`` it sends an event to everybody when it gets ``ask(data)``.

    ``around`` are the bytes of an event around its data.  ``talks`` tells whether it begins with
    a message of its own there, and replies to who asks.  At ``echo_path`` it sends everything back.
    """

    server: Server
    path: str
    echo_path: str
    talks: bool
    ask: Callable[[str], str]
    around: int

    def ask_for_event(self, size: int) -> str:
        """Return what makes it broadcast an event of ``size`` bytes, with room for a stamp."""
        stamp = STAMP.decode() + "0" * STAMP_DIGITS
        data = stamp.ljust(size - self.around, "x")
        if len(data) + self.around != size:
            raise ValueError(f"an event has at least {len(stamp) + self.around} bytes, not {size}")
        return self.ask(data)


def target(program: Program, server: Server) -> Target:
    """Return ``server``, which runs ``program``, as a target."""
    if program in (X121, STOCK):
        around = len(json.dumps({"type": EVENT, "data": ""}, separators=(",", ":")))
        return Target(server, PATH, "/ws/echo", talks=True, ask=_message, around=around)
    return Target(server, "/room", "/echo", talks=False, ask=str, around=0)


def _message(data: str) -> str:
    return json.dumps({"type": BROADCAST, "id": 1, "data": data})
