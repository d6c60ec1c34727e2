"""Servers as processes of their own: started, pinned to a core, measured and stopped."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.postgres import Postgres
from x121.config import DbConfig

__all__ = [
    "ROOT",
    "Server",
    "bare_autobahn",
    "bare_klein",
    "end",
    "environment",
    "in_folder",
    "pinned",
    "postgres",
    "x121",
]

ROOT = Path(__file__).parents[1]
_START_TIMEOUT_SECS = 30.0
_STOP_TIMEOUT_SECS = 10.0
_POLL_SECS = 0.005


@dataclass(frozen=True)
class Server:
    """One that runs and answers ``/health``.

    ``start_secs`` is from its spawn to its first 200; ``access_log`` is one to be checked.
    """

    name: str
    port: int
    start_secs: float
    process: psutil.Process
    access_log: Path | None

    @property
    def cpu_secs(self) -> float:
        """The CPU time it has used so far, in user and system mode."""
        if platform.system() == "Linux":  # in ns, where /proc has ticks of 10 ms
            return time.clock_gettime(_cpu_clock(self.process.pid))
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def resident_bytes(self) -> int:
        """The memory it has in RAM."""
        return int(self.process.memory_info().rss)

    @property
    def anonymous_bytes(self) -> int:
        """The part of it that belongs to no file, so that no other process can share it."""
        memory = self.process.memory_info()
        return int(memory.rss - memory.shared)

    def logged_requests(self) -> int:
        """Return how many requests its access log has."""
        assert self.access_log is not None
        with self.access_log.open("rb") as lines:
            return sum(1 for line in lines if b"/health" in line)


@contextlib.contextmanager
def in_folder() -> Iterator[Path]:
    """Make a folder that everybody may pass: PostgreSQL may run as somebody else."""
    with tempfile.TemporaryDirectory(prefix="x121-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[DbConfig]:
    """Run a PostgreSQL with an empty database."""
    server = Postgres()
    server.create(folder / "postgres")
    try:
        server.start()
        yield server.config(server.create_database())
    finally:
        server.stop("immediate")


@contextlib.contextmanager
def x121(
    folder: Path,
    db: DbConfig,
    core: int | None,
    *,
    program: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run x121 as ``twistd`` does, with every wrapper and a log of JSON lines in a file.

    ``program`` is another one to run in twistd's place, and ``settings`` are variables that
    shall not have their defaults.
    """
    port = _free_port()
    variables = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "LOG_FORMAT": "json",
        "DB_HOST": db.host,
        "DB_PORT": str(db.port),
        "DB_NAME": db.name,
        "DB_USER": db.user,
        "DB_PASSWORD": db.password,
        **(settings or {}),
    }
    log = folder / "x121.log"
    twistd = program or [str(Path(sys.executable).with_name("twistd"))]
    command = [*twistd, "-n", "--pidfile=", f"--logfile={log}", "x121"]
    with _running("x121", command, variables, port, folder, core, log) as server:
        yield server


@contextlib.contextmanager
def bare_klein(folder: Path, core: int | None, *, with_log: bool) -> Iterator[Server]:
    """Run Klein on Twisted's own site, without an access log or with the site's own."""
    port = _free_port()
    name = "bare Klein, access log" if with_log else "bare Klein, no log"
    command = [sys.executable, "-m", "bench.bare_klein", str(port)]
    if with_log:
        command.append(str(folder / "klein.log"))
    with _running(name, command, {}, port, folder, core, None) as server:
        yield server


@contextlib.contextmanager
def bare_autobahn(folder: Path, core: int | None) -> Iterator[Server]:
    """Run a WebSocket server that is Autobahn's own on Twisted's own port."""
    port = _free_port()
    command = [sys.executable, "-m", "bench.ws.bare_autobahn", str(port)]
    with _running("bare Autobahn", command, {}, port, folder, core, None) as server:
        yield server


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """Return ``command`` so that it runs on ``core`` alone."""
    return [*command] if core is None else ["taskset", "--cpu-list", str(core), *command]


@contextlib.contextmanager
def _running(
    name: str,
    command: Sequence[str],
    settings: Mapping[str, str],
    port: int,
    folder: Path,
    core: int | None,
    log: Path | None,
) -> Iterator[Server]:
    # The folder has no .env; a Ctrl-C is for us, who then stop the server in order.
    with (folder / "output").open("ab") as output:
        spawned = time.monotonic()
        process = subprocess.Popen(
            pinned(command, core),
            cwd=folder,
            env={**environment(), **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for_200(name, process, port, log or folder / "output")
        seconds = time.monotonic() - spawned
        yield Server(name, port, seconds, psutil.Process(process.pid), log)
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Stop ``process``, in order if it does so in time."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def environment() -> dict[str, str]:
    """Return the variables that every process here is started with."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    error: int = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return clock.value


def _wait_for_200(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise SystemExit(f"{name} did not start:\n{said}")
        time.sleep(_POLL_SECS)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
