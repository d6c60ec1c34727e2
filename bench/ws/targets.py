"""The servers under load, and how each is spoken to."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.servers import Server
from bench.ws.contract import BROADCAST, EVENT, PATH, STAMP, STAMP_DIGITS
from x121.config import DbConfig

__all__ = ["AUTOBAHN", "X121", "Target", "autobahn", "x121"]

AUTOBAHN = "bare Autobahn"
X121 = "x121"


@dataclass(frozen=True)
class Target:
    """A server: at ``path`` it sends an event to everybody when it gets ``ask(data)``.

    ``around`` are the bytes of an event around its data.  ``talks`` tells whether it begins with
    a message of its own, and replies to who asks.
    """

    name: str
    server: Server
    path: str
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


@contextlib.contextmanager
def x121(
    folder: Path, db: DbConfig, core: int | None, settings: Mapping[str, str] | None = None
) -> Iterator[Target]:
    """Run x121 with a handler that broadcasts."""
    settings = {"DIAGNOSTICS": "true", **(settings or {})}
    program = [sys.executable, "-m", "bench.ws.start"]
    around = len(json.dumps({"type": EVENT, "data": ""}, separators=(",", ":")))
    with servers.x121(folder, db, core, program=program, settings=settings) as server:
        yield Target(X121, server, PATH, talks=True, ask=_message, around=around)


def _message(data: str) -> str:
    return json.dumps({"type": BROADCAST, "id": 1, "data": data})


@contextlib.contextmanager
def autobahn(folder: Path, core: int | None) -> Iterator[Target]:
    """Run a bare Autobahn."""
    with servers.bare_autobahn(folder, core) as server:
        yield Target(AUTOBAHN, server, "/", talks=False, ask=str, around=0)
