"""What x121 is to reach, as ratios of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.programs import HTTP, STOCK, X121
from bench.rounds import Round
from bench.table import verdict

__all__ = ["verdicts"]


@dataclass(frozen=True)
class Goal:
    """In ``case``, ``who`` is to do at least ``rate`` times what ``peer`` does.

    Or, where ``cpu`` isn't 0, to use at most so many times its CPU.
    """

    case: str
    peer: str
    rate: float = 0.0
    cpu: float = 0.0
    who: str = X121.name

    @property
    def row(self) -> str:
        """The program in whose row it is told: ours has many goals, so it is the peer."""
        return self.peer if self.who == X121.name else self.who

    def text(self, results: Mapping[str, Round]) -> str:
        """Return the goal and whether it was reached."""
        ours, theirs = results[self.who], results[self.peer]
        whom = "" if self.row == self.peer else f"{self.peer} "
        if self.cpu:
            return (
                f"CPU <= {whom}{self.cpu:g}x {verdict(ours.cpu_secs <= self.cpu * theirs.cpu_secs)}"
            )
        return f">= {whom}{self.rate:g}x {verdict(ours.per_sec >= self.rate * theirs.per_sec)}"


_GOALS = (
    Goal("health", "fastapi", 5.0),
    Goal("health", "starlette", 2.8),
    Goal("health", "blacksheep", 2.0),
    Goal("health", "granian", 2.8),
    Goal("health", "rsgi", 0.9),
    Goal("health", "klein", 1.2, who=STOCK.name),
    Goal("item", "fastapi", 4.0),
    Goal("item", "starlette", 2.0),
    Goal("item", "aiohttp", 1.5),
    Goal("row", "fastapi", 1.5),
    Goal("ws-echo-128", "starlette", 1.6),
    Goal("ws-echo-128", "aiohttp", 1.0),
    Goal("ws-broadcast-200", "websockets", cpu=0.6),
)
_CALM_CONNECTIONS = 100
_PEERS = {one.name for one in HTTP if one.has_features} - {X121.name, STOCK.name}


def verdicts(case: str, connections: int, results: Mapping[str, Round]) -> dict[str, str]:
    """Return what to say in which program's row, of ``results`` by program."""
    said: dict[str, list[str]] = {}
    for row, text in _all(case, connections, results):
        said.setdefault(row, []).append(text)
    return {row: ", ".join(texts) for row, texts in said.items()}


def _all(case: str, connections: int, results: Mapping[str, Round]) -> Iterator[tuple[str, str]]:
    for goal in _GOALS:
        if goal.case == case and {goal.who, goal.peer} <= results.keys():
            yield goal.row, goal.text(results)
    peers = [one.p99_secs for name, one in results.items() if name in _PEERS]
    if connections == _CALM_CONNECTIONS and peers and X121.name in results:
        reached = results[X121.name].p99_secs <= min(peers)
        yield X121.name, f"p99 <= each peer's {verdict(reached)}"
