"""Many connections on which nothing happens, and events that go to all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.processes import Server
from bench.table import Column, comparison
from bench.ws.fleet import Fleet, Taken
from bench.ws.targets import Target

__all__ = ["EVENT_BYTES", "KIB", "MIB", "Idle", "broadcast_table", "idle_table", "measure"]

EVENT_BYTES = 128
KIB = 1 << 10
MIB = 1 << 20
_WARM_UP = 100
_CALM_SECS = 0.5
_CALM_SHARE = 0.05
_MAX_SECS = 20.0

_IDLE_COLUMNS = (
    Column("handshakes/s", "handshakes_per_sec"),
    Column("CPU us/handshake", "cpu_secs_per_handshake", 1e6),
    Column("KiB/connection", "bytes_per_connection", 1 / KIB, 1),
    Column("(anonymous)", "anonymous_bytes_per_connection", 1 / KIB, 1),
    Column("MiB before", "resident_before", 1 / MIB, 1),
    Column("open", "resident_open", 1 / MIB, 1),
    Column("left", "resident_left", 1 / MIB, 1),
)
_BROADCAST_COLUMNS = (
    Column("CPU s", "broadcast_cpu_secs", 1, 3),
    Column("until the last has it, s", "broadcast_secs", 1, 3),
)


@dataclass(frozen=True)
class Idle:
    """What the connections cost; memory is in bytes, before they came and after they left too.

    ``pings_per_min`` and ``idle_cpu_secs_per_min`` are while nothing happens but pings.
    """

    handshakes_per_sec: float
    cpu_secs_per_handshake: float
    bytes_per_connection: float
    anonymous_bytes_per_connection: float
    resident_before: float
    resident_open: float
    resident_left: float
    pings_per_min: float
    idle_cpu_secs_per_min: float
    broadcast_cpu_secs: float
    broadcast_secs: float


def measure(
    target: Target, clients: Fleet, connections: int, broadcasts: int, idle_secs: float
) -> Idle:
    """Return what ``connections`` cost a server that has just been started.

    Without ``idle_secs`` it isn't watched while nothing happens.
    """
    server = target.server
    _warm_up(target, clients)
    resident, anonymous = server.resident_bytes, server.anonymous_bytes
    cpu_secs = server.cpu_secs
    seconds = clients.open(target.path, connections, talks=target.talks)
    _calm_down(server)
    cpu_secs = server.cpu_secs - cpu_secs
    resident_open, anonymous_open = server.resident_bytes, server.anonymous_bytes
    costs = [_broadcast(target, clients) for _ in range(broadcasts)]
    _calm_down(server)
    pings_per_min, idle_cpu_secs_per_min = _idle(server, clients, idle_secs)
    clients.drop()
    _calm_down(server)
    return Idle(
        connections / seconds,
        cpu_secs / connections,
        (resident_open - resident) / connections,
        (anonymous_open - anonymous) / connections,
        resident,
        resident_open,
        server.resident_bytes,
        pings_per_min,
        idle_cpu_secs_per_min,
        statistics.median(cpu for cpu, _ in costs),
        statistics.median(secs for _, secs in costs),
    )


def _warm_up(target: Target, clients: Fleet) -> None:
    """Have the server load and make what the first connections need."""
    clients.open(target.path, _WARM_UP, talks=target.talks)
    _broadcast(target, clients)
    clients.drop()
    _calm_down(target.server)


def _calm_down(server: Server) -> None:
    """Wait until the server has nothing to do."""
    deadline = time.monotonic() + _MAX_SECS
    while time.monotonic() < deadline:
        cpu_secs = server.cpu_secs
        time.sleep(_CALM_SECS)
        if server.cpu_secs - cpu_secs <= _CALM_SECS * _CALM_SHARE:
            return


def _broadcast(target: Target, clients: Fleet) -> tuple[float, float]:
    """Return the server's CPU time, and the time until the last client has the event."""
    clients.take()
    cpu_secs = target.server.cpu_secs
    begun_at = clients.say(target.ask_for_event(EVENT_BYTES), talks=target.talks)
    clients.wait(events_each=1)
    cpu_secs = target.server.cpu_secs - cpu_secs
    taken = clients.take()
    _check(taken, clients.size)
    return cpu_secs, taken.last_event_at - begun_at


def _check(taken: Taken, size: int) -> None:
    if (taken.events, taken.event_bytes) != (size, size * EVENT_BYTES):
        raise SystemExit(
            f"bench: not one event of {EVENT_BYTES} bytes each: {taken.events}, {taken.event_bytes}"
        )


def _idle(server: Server, clients: Fleet, seconds: float) -> tuple[float, float]:
    """Return how many pings come in a minute, and the server's CPU time."""
    if not seconds:
        return 0.0, 0.0
    clients.take()
    cpu_secs = server.cpu_secs
    time.sleep(seconds)
    cpu_secs = server.cpu_secs - cpu_secs
    taken = clients.take()
    return taken.pings * 60 / seconds, cpu_secs * 60 / seconds


def idle_table(medians: Mapping[str, Idle], connections: int) -> str:
    """Return what connections cost, one row a server."""
    return comparison(f"{connections:,} idle", _IDLE_COLUMNS, medians)


def broadcast_table(medians: Mapping[str, Idle], connections: int) -> str:
    """Return what a broadcast costs, one row a server."""
    what = f"{EVENT_BYTES} bytes to {connections:,}"
    return comparison(what, _BROADCAST_COLUMNS, medians)
