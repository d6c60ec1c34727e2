"""Connections without a WebSocket beneath."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from x121.core.types import DbId
from x121.ws.connection import WsConnection

__all__ = ["FakeLink", "connected"]


class FakeLink:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.can_send = True
        self.waiting_bytes = 0
        self.frames: list[bytes] = []
        self.pings = 0
        self.heard = True
        self.timed_out = False
        self.is_aborted = False
        self.is_leaving = False
        self.error: Exception | None = None
        self.on_send: Callable[[], object] = int

    def send_frame(self, frame: bytes) -> bool:
        if self.error is not None:
            raise self.error
        self.on_send()
        if self.can_send:
            self.frames.append(frame)
        return self.can_send

    def end(self, code: int, reason: str) -> None:
        self.can_send = False

    def close_after_replies(self) -> None:
        self.is_leaving = True

    def abort(self) -> None:
        self.is_aborted = True

    def ping(self) -> None:
        self.pings += 1

    def expect_activity(self) -> None:
        self.heard = False

    def is_alive(self) -> bool:
        return self.heard

    def fail_ping(self) -> None:
        self.timed_out = True


def connected(name: str, user_id: DbId | None = None, *, takes_events: bool = True) -> WsConnection:
    """Return a connection on a :class:`FakeLink`."""
    return WsConnection(
        name,
        FakeLink(),
        user_id=user_id,
        connected_at=datetime.fromtimestamp(0, UTC),
        takes_events=takes_events,
    )
