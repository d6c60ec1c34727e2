"""What WebSockets are measured with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """Messages of ``size`` bytes: sent back, or sent on to every connection."""

    name: str
    title: str
    size: int
    connections: int
    is_broadcast: bool


CASES = (
    Case("ws-echo-128", "WebSocket, echo of 128 bytes", 128, 32, is_broadcast=False),
    Case("ws-echo-16k", "WebSocket, echo of 16 KiB", 16 << 10, 32, is_broadcast=False),
    Case("ws-broadcast-200", "WebSocket, 128 bytes to everybody", 128, 200, is_broadcast=True),
    Case("ws-broadcast-2000", "WebSocket, 128 bytes to everybody", 128, 2000, is_broadcast=True),
)
