"""Fast clients, with and without one among them that reads nothing."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench.table import Column, comparison
from bench.ws.fleet import Fleet
from bench.ws.targets import Target

__all__ = [
    "CONNECTIONS",
    "EVENTS_PER_SEC",
    "EVENT_BYTES",
    "Fast",
    "Slow",
    "latency_table",
    "measure_with",
    "measure_without",
]

CONNECTIONS = 1000
"""How many fast ones there are, where that many can be."""

EVENT_BYTES = 16 << 10
EVENTS_PER_SEC = 20
_MAX_SECS = 30

_COLUMNS = (
    Column("p50 ms", "p50_secs", 1e3, 1),
    Column("p99 ms", "p99_secs", 1e3, 1),
    Column("max ms", "longest_secs", 1e3, 1),
    Column("CPU ms/event", "cpu_secs_per_event", 1e3, 1),
)


@dataclass(frozen=True)
class Fast:
    """How late events are, from when they are asked for; and what one costs the server."""

    p50_secs: float
    p99_secs: float
    longest_secs: float
    cpu_secs_per_event: float


@dataclass(frozen=True)
class Slow:
    """How the slow one was closed: when, and after how many bytes of events.

    It then read ``received`` bytes.
    """

    code: float
    seconds: float
    sent: float
    received: float


def measure_without(target: Target, clients: Fleet, seconds: int) -> Fast:
    """Return what is measured while nobody is slow."""
    steady = _Steady(target, clients)
    for _ in range(seconds):
        steady.go_on()
    return steady.result()


def measure_with(target: Target, clients: Fleet, slow: Fleet) -> tuple[Fast, Slow, int]:
    """Return the same until the slow one was closed, how it was, and how many seconds it took."""
    slow.open(target.path, 1, talks=target.talks)
    slow.stall()
    steady = _Steady(target, clients)
    while steady.taken_by_all is None:
        if steady.seconds == _MAX_SECS:
            raise SystemExit(f"bench: who reads nothing was not closed within {_MAX_SECS} s")
        steady.go_on()
    # At once: a server does not wait for ever until its close frame is read.
    slow.resume()
    slow.wait_lost()
    ((code, received),) = slow.take().lost
    events, seconds = steady.taken_by_all
    how = Slow(code, seconds, events * EVENT_BYTES, received)
    return steady.result(), how, steady.seconds


class _Steady:
    """Events at a steady pace, a second of them at a time; ``seconds`` counts these.

    ``taken_by_all`` is how many events went to one more than the clients here, and for how many
    seconds; None as long as they do.
    """

    def __init__(self, target: Target, clients: Fleet) -> None:
        clients.take()
        self.seconds = 0
        self.taken_by_all: tuple[int, float] | None = None
        self._target = target
        self._clients = clients
        self._cpu_secs = target.server.cpu_secs
        self._begun_at = 0.0
        self._events = 0
        self._latencies: list[float] = []

    def go_on(self) -> None:
        """Send events for one second."""
        begun_at = self._clients.say(
            self._target.ask_for_event(EVENT_BYTES),
            talks=self._target.talks,
            times=EVENTS_PER_SEC,
            every_secs=1 / EVENTS_PER_SEC,
        )
        self._clients.wait(events_each=EVENTS_PER_SEC)
        taken = self._clients.take()
        self.seconds += 1
        self._begun_at = self._begun_at or begun_at
        self._latencies += taken.latencies_secs
        for at, text in taken.others:
            self._events += 1
            if json.loads(text)["data"] == self._clients.size and self.taken_by_all is None:
                self.taken_by_all = (self._events - 1, at - self._begun_at)

    def result(self) -> Fast:
        """Return what was measured."""
        hundredths = statistics.quantiles(self._latencies, n=100)
        cpu_secs = self._target.server.cpu_secs - self._cpu_secs
        return Fast(hundredths[49], hundredths[98], max(self._latencies), cpu_secs / self._events)


def latency_table(medians: Mapping[str, Fast], connections: int) -> str:
    """Return how late events are, one row a kind of company."""
    what = f"{EVENT_BYTES >> 10} KiB to {connections:,}, {EVENTS_PER_SEC}/s"
    return comparison(what, _COLUMNS, medians)
