"""Processes of clients, commanded from here."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Server, cpu_secs_of, end, environment

__all__ = ["Answers", "Fleet", "Taken", "fleet", "raise_open_files"]

_AT_ONCE = 128


@dataclass(frozen=True)
class Taken:
    """What came in at the clients of a fleet.

    ``others`` are messages that are no events, and when they came; ``lost`` has the close code
    and the bytes received of each connection that the server closed.
    """

    events: int
    event_bytes: int
    last_event_at: float
    latencies_secs: list[float]
    others: list[tuple[float, str]]
    pings: int
    lost: list[tuple[int, int]]


@dataclass(frozen=True)
class Answers:
    """How often clients got what they had asked for, in all and a second, and how late."""

    count: int
    per_sec: float
    latencies_secs: list[float]


class Fleet:
    """Clients of one server, spread over ``processes``."""

    def __init__(self, processes: list[subprocess.Popen[str]], output: Path) -> None:
        self._processes = processes
        self._output = output
        self._sizes = [0] * len(processes)

    @property
    def size(self) -> int:
        """How many connections it has opened."""
        return sum(self._sizes)

    @property
    def cpu_secs(self) -> float:
        """The CPU time that the clients have used so far."""
        return sum(cpu_secs_of(process.pid) for process in self._processes)

    def open(self, path: str, count: int, *, talks: bool) -> float:
        """Open connections, and return how many seconds that took.

        ``talks`` is the target's.
        """
        shares = _shares(count, len(self._processes))
        at_once = max(1, _AT_ONCE // len(self._processes))
        begun_at = time.monotonic()
        for process, share in zip(self._processes, shares, strict=True):
            _ask(process, "open", path=path, count=share, at_once=at_once, talks=talks)
        ended_at = max(answer["at"] for answer in self._answers())
        self._sizes = [a + b for a, b in zip(self._sizes, shares, strict=True)]
        return float(ended_at - begun_at)

    def say(self, text: str, *, talks: bool, times: int = 1, every_secs: float = 0.0) -> float:
        """Have one client send ``text`` at a steady pace; return when it began."""
        speaker = self._processes[0]
        _ask(speaker, "say", text=text, talks=talks, times=times, every_secs=every_secs)
        return float(self._answer(speaker)["begun_at"])

    def wait(self, events_each: int) -> None:
        """Wait until every connection could have so many events since the last ``take``."""
        for process, size in zip(self._processes, self._sizes, strict=True):
            _ask(process, "wait", events=events_each * size)
        self._answers()

    def take(self) -> Taken:
        """Return what came in since the last time."""
        answers = self._all("take")
        return Taken(
            sum(one["events"] for one in answers),
            sum(one["event_bytes"] for one in answers),
            max(one["last_event_at"] for one in answers),
            [ns / 1e9 for one in answers for ns in one["latencies_ns"]],
            [(at, text) for one in answers for at, text in one["others"]],
            sum(one["pings"] for one in answers),
            [(code, received) for one in answers for code, received in one["lost"]],
        )

    def echo(self, text: str, seconds: float) -> Answers:
        """Have every client send ``text`` and wait for the answer, again and again."""
        answers = self._all("echo", text=text, seconds=seconds)
        return Answers(
            sum(one["all_echoes"] for one in answers),
            sum(one["echoes"] / one["seconds"] for one in answers),
            [ns / 1e9 for one in answers for ns in one["latencies_ns"]],
        )

    def flood(self, text: str, event_size: int, seconds: float) -> Answers:
        """Have one client send ``text``, again and again, and everybody wait for its event.

        It takes a fleet of one process.
        """
        (answer,) = self._all("flood", text=text, event_size=event_size, seconds=seconds)
        latencies_secs = [ns / 1e9 for ns in answer["latencies_ns"]]
        events = len(latencies_secs) * self.size
        return Answers(events, events / answer["seconds"], latencies_secs)

    def stall(self) -> None:
        """Read nothing any more, and be closed for it: before, that ends everything."""
        self._all("stall")

    def resume(self) -> None:
        """Read again."""
        self._all("resume")

    def wait_lost(self) -> None:
        """Wait until the server has closed every connection."""
        self._all("wait_lost")
        self._sizes = [0] * len(self._processes)

    def drop(self) -> None:
        """Reset every connection."""
        self._all("drop")
        self._sizes = [0] * len(self._processes)

    def _all(self, do: str, **arguments: Any) -> list[dict[str, Any]]:
        for process in self._processes:
            _ask(process, do, **arguments)
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        return [self._answer(process) for process in self._processes]

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            said = self._output.read_text(errors="replace")[-2000:]
            raise SystemExit(f"bench: a client gave up:\n{said}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _ask(process: subprocess.Popen[str], do: str, **arguments: Any) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # who is gone is found out with the answer
        process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        process.stdin.flush()


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (number < count % parts) for number in range(parts)]


@contextlib.contextmanager
def fleet(folder: Path, server: Server, processes: int) -> Iterator[Fleet]:
    """Start clients of ``server``, without a connection yet, on the cores of this process."""
    with contextlib.ExitStack() as stack:
        output = folder / "clients"
        started = []
        for number in range(processes):
            command = [sys.executable, "-m", "bench.ws.client", str(server.port), str(number)]
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(output.open("ab")),
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            started.append(process)
        yield Fleet(started, output)


def raise_open_files() -> int:
    """Raise the limit of open files, for what is started from here too; return what it is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
