"""The measures themselves: a server that stands still is seen to."""

from __future__ import annotations

from tests.abuse.bystander import MAX_TURN_MS, measure
from tests.process.server import ServerProcess


def test_quiet(server: ServerProcess) -> None:
    """A request like the bystander's own is no attack."""
    impact = measure(server, lambda: server.get("/health"))
    assert impact.longest_turn_ms < MAX_TURN_MS


def test_standing_still(server: ServerProcess) -> None:
    """A handler that keeps the reactor busy shows in the longest turn and to the bystander."""
    impact = measure(server, lambda: server.get("/trials/busy/0.1"))
    assert impact.longest_turn_ms >= 100
    assert impact.worst_ms >= 90  # it may have asked when that had begun
