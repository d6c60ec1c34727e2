"""Every server that can be measured, and how it is started."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import processes
from bench.database import Database
from bench.machine import Cores
from bench.processes import Server

__all__ = ["AUTOBAHN", "HTTP", "ORIGIN", "STOCK", "WEBSOCKETS", "X121", "Place", "Program"]

ORIGIN = "http://localhost:5173"
"""The page that may call every server."""

_STOCK = {"X121_REACTOR": "stock", "X121_HTTP": "stock", "X121_WEBSOCKET": "stock"}


@dataclass(frozen=True, eq=False)
class Program:
    """A server: ``name`` is for options, ``title`` for tables.

    ``{ours}`` and ``{peers}`` in ``command`` are the folders of the programs of the two
    environments.  ``has_features`` tells whether it does what the others do, or is a ceiling.
    One that ``is_optional`` is left out if it can't run here.
    """

    name: str
    title: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    has_features: bool = True
    is_optional: bool = False


def _x121(name: str, title: str, settings: Mapping[str, str] | None = None) -> Program:
    command = ("{ours}/twistd", "-n", "--pidfile=", "--logfile={log}", "x121")
    return Program(
        name,
        title,
        command,
        {
            "X121_APP": "bench.ours.application:application",
            "DIAGNOSTICS": "true",
            **(settings or {}),
        },
    )


def _uvicorn(app: str) -> tuple[str, ...]:
    where = ("--host=127.0.0.1", "--port={port}", "--loop=uvloop", "--http=httptools")
    quiet = ("--no-access-log", "--log-level=warning", "--ws-per-message-deflate=false")
    return ("{peers}/uvicorn", *where, *quiet, f"bench.peers.{app}:app")


def _granian(interface: str, app: str) -> tuple[str, ...]:
    where = ("--host=127.0.0.1", "--port={port}", "--loop=uvloop", "--http=1")
    threads = ("--workers=1", "--runtime-threads=1")
    quiet = ("--no-access-log", "--log-level=warning")
    app = f"bench.peers.{app}:app"
    return ("{peers}/granian", f"--interface={interface}", *where, *threads, *quiet, app)


def _module(name: str, environment: str = "peers") -> tuple[str, ...]:
    return (f"{{{environment}}}/python", "-m", f"bench.peers.{name}", "{port}")


X121 = _x121("x121", "x121 fast")
STOCK = _x121("stock", "x121 stock", _STOCK)
AUTOBAHN = Program("autobahn", "bare Autobahn", _module("ws_autobahn", "ours"))

HTTP = (
    X121,
    STOCK,
    Program("fastapi", "FastAPI on uvicorn", _uvicorn("on_fastapi")),
    Program("starlette", "Starlette on uvicorn", _uvicorn("on_starlette")),
    Program("granian", "Starlette on Granian", _granian("asgi", "on_starlette")),
    Program("blacksheep", "BlackSheep on uvicorn", _uvicorn("on_blacksheep")),
    Program("aiohttp", "aiohttp on uvloop", _module("on_aiohttp")),
    Program("klein", "(bare) Klein", _module("klein_site", "ours"), has_features=False),
    Program("rsgi", "(bare) Granian RSGI", _granian("rsgi", "rsgi"), has_features=False),
    Program(
        "socketify",
        "(bare) socketify",
        _module("on_socketify"),
        has_features=False,
        is_optional=True,
    ),
    Program("robyn", "(bare) Robyn", _module("on_robyn"), has_features=False, is_optional=True),
    Program("raw", "(bare) raw transport", _module("raw_transport"), has_features=False),
)
"""Those for requests."""

WEBSOCKETS = (
    X121,
    STOCK,
    Program("starlette", "Starlette on uvicorn", _uvicorn("ws_starlette")),
    Program("websockets", "websockets", _module("ws_websockets")),
    Program("aiohttp", "aiohttp", _module("ws_aiohttp")),
    Program("picows", "picows", _module("ws_picows")),
    Program("raw", "(bare) raw transport", _module("ws_raw"), has_features=False),
)
"""Those for WebSockets: only ours has an access log, CORS and a protocol of messages."""


@dataclass(frozen=True)
class Place:
    """Where programs run.  ``venv`` is the environment of the peers."""

    folder: Path
    db: Database
    cores: Cores
    venv: Path

    @contextlib.contextmanager
    def run(self, program: Program, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Run ``program``; ``settings`` are variables that shall not have their defaults."""
        port = processes.free_port()
        log = self.folder / f"{program.name}.log"
        words = {
            "ours": Path(sys.executable).parent,
            "peers": self.venv / "bin",
            "port": port,
            "log": log,
        }
        with processes.run(
            program.title,
            [word.format(**words) for word in program.command],
            {**self._variables(port, log), **program.settings, **(settings or {})},
            port=port,
            folder=self.folder,
            core=self.cores.server,
            log=log if program.has_features else None,
        ) as server:
            yield server

    def _variables(self, port: int, log: Path) -> dict[str, str]:
        """Return what x121 reads, and what its peers read: much of it has the same name."""
        return {
            "CORS_ORIGINS": ORIGIN,
            "REQUEST_TIMEOUT_SECS": "30",
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "LOG_FORMAT": "json",
            "ACCESS_LOG": str(log),
            "DB_HOST": self.db.config.host,
            "DB_PORT": str(self.db.config.port),
            "DB_NAME": self.db.config.name,
            "DB_USER": self.db.config.user,
            "DB_PASSWORD": self.db.config.password,
            "DATABASE_URL": self.db.url,
        }
