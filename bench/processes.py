"""Servers as processes of their own: started, pinned to a core, measured and stopped."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import platform
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

__all__ = [
    "ROOT",
    "Failure",
    "Server",
    "cpu_secs_of",
    "end",
    "environment",
    "family_cpu_secs",
    "free_port",
    "in_folder",
    "run",
]

ROOT = Path(__file__).parents[1]
_START_TIMEOUT_SECS = 30.0
_STOP_TIMEOUT_SECS = 10.0
_LOG_TIMEOUT_SECS = 2.0
_POLL_SECS = 0.005
# A line of an access log, of x121's and of its peers'.
_LOGGED = b'"duration_ms":'


class Failure(SystemExit):
    """Raised if a server fails; ends the program, unless the server can be left out."""


@dataclass(frozen=True)
class Server:
    """One that runs and answers.

    ``start_secs`` is from its spawn to its first answer; ``log`` has a line for each request, and
    is None where none are written.
    """

    name: str
    port: int
    start_secs: float
    process: psutil.Process
    log: Path | None

    @property
    def cpu_secs(self) -> float:
        """The CPU time used so far, in user and system mode, by it and its children."""
        return family_cpu_secs(self.process)

    @property
    def resident_bytes(self) -> int:
        """The memory that it and its children have in RAM."""
        return sum(process.memory_info().rss for process in _family(self.process))

    @property
    def anonymous_bytes(self) -> int:
        """The part of it that belongs to no file, so that no other process can share it."""
        memory = [process.memory_info() for process in _family(self.process)]
        return sum(one.rss - one.shared for one in memory)

    def take_log(self, requests: int) -> None:
        """Empty the log; raise :class:`Failure` if it has fewer lines than ``requests``."""
        if self.log is None:
            return
        deadline = time.monotonic() + _LOG_TIMEOUT_SECS
        while (found := _count(self.log)) < requests:
            if time.monotonic() > deadline:
                raise Failure(f"bench: {self.name} logged {found} of {requests} requests")
            time.sleep(_POLL_SECS)
        os.truncate(self.log, 0)


def _count(log: Path) -> int:
    with log.open("rb") as lines:
        return sum(1 for line in lines if _LOGGED in line)


@contextlib.contextmanager
def in_folder() -> Iterator[Path]:
    """Make a folder that everybody may pass: PostgreSQL may run as somebody else."""
    with tempfile.TemporaryDirectory(prefix="x121-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def run(
    name: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    port: int,
    folder: Path,
    core: int | None,
    log: Path | None,
) -> Iterator[Server]:
    """Run ``command`` in ``folder`` on ``core`` alone, and stop it in the end.

    Raises :class:`Failure` if nothing answers at ``port`` soon.
    """
    output = folder / "output"
    spawned = time.monotonic()
    with output.open("ab") as file, _on_core(core):
        # A Ctrl-C is for us, who then stop it in order; the folder has no .env.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait_for_answer(name, process, port, [output, *([log] if log else [])])
        seconds = time.monotonic() - spawned
        yield Server(name, port, seconds, psutil.Process(process.pid), log)
    finally:
        end(process)


@contextlib.contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """Have what is started meanwhile run on ``core`` alone: a child inherits where it may run."""
    if core is None:
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def end(process: subprocess.Popen[Any]) -> None:
    """Stop ``process``, in order if it does so in time, and whatever is left of its session."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """Return the variables that every process here is started with."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


def family_cpu_secs(process: psutil.Process) -> float:
    """Return the CPU time that a process and its children have used so far."""
    return sum(cpu_secs_of(one.pid) for one in _family(process))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def cpu_secs_of(pid: int) -> float:
    """Return the CPU time that a process has used so far, in user and system mode."""
    if platform.system() == "Linux":  # in ns, where /proc has ticks of 10 ms
        return time.clock_gettime(_cpu_clock(pid))
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _cpu_clock(pid: int) -> int:
    clock = ctypes.c_int()
    error: int = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return clock.value


def _wait_for_answer(
    name: str, process: subprocess.Popen[bytes], port: int, outputs: Sequence[Path]
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            said = "".join(p.read_text(errors="replace")[-2000:] for p in outputs if p.exists())
            raise Failure(f"bench: {name} did not start:\n{said}")
        time.sleep(_POLL_SECS)


def _answers(port: int) -> bool:
    """Return whether there is any answer: what speaks WebSocket alone has an error for this."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
