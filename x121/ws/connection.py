"""A WebSocket connection, as features and the manager use it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, Protocol

from twisted.logger import Logger

from x121.core.event_encoding import encode_event
from x121.core.types import DbId
from x121.ws.frames import make_frame
from x121.ws.threads import check_thread

__all__ = ["Transport", "WsConnection"]

_log = Logger(namespace="x121.ws")


class Transport(Hashable, Protocol):
    """The WebSocket of a connection; it may be closing or closed already."""

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes that were sent and are not yet written to the socket."""

    @property
    def can_send(self) -> bool:
        """True from the end of the handshake until a close frame is sent."""

    def send_frame(self, frame: bytes) -> bool:
        """Send a whole frame.  Return True if it was accepted."""

    def end(self, code: int, reason: str) -> None:
        """Send a close frame now, and close when the peer's close frame arrives."""

    def close_after_replies(self) -> None:
        """Close with 1001 once the messages received so far have their replies."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def ping(self) -> None:
        """Send a ping."""

    def expect_activity(self) -> None:
        """Begin to wait for a sign of life."""

    def is_alive(self) -> bool:
        """Return True if there was a sign of life since then, or none can be expected."""

    def fail_ping(self) -> None:
        """Send 1011 and drop the connection."""


class WsConnection:
    """A connected client.

    ``id`` is a UUID, version 4.  ``user_id`` is the authenticated user, None without one.
    ``connected_at`` is in UTC.  ``is_gone`` is True once the connection is closed.
    ``takes_events`` is True if its endpoint speaks JSON messages, so that it gets events.
    ``topics`` are its subscriptions.  ``link`` and ``dropped`` are for the server itself: the
    transport, and True if the server dropped the connection.
    """

    __slots__ = (
        "_on_close",
        "connected_at",
        "dropped",
        "id",
        "is_gone",
        "link",
        "takes_events",
        "topics",
        "user_id",
    )

    def __init__(
        self,
        connection_id: str,
        link: Transport,
        *,
        user_id: DbId | None,
        connected_at: datetime,
        takes_events: bool = True,
    ) -> None:
        self.id = connection_id
        self.link = link
        self.user_id = user_id
        self.connected_at = connected_at
        self.takes_events = takes_events
        self.dropped = False
        self.is_gone = False
        self.topics: frozenset[str] = frozenset()
        self._on_close: list[Callable[[], object]] = []

    @property
    def can_send(self) -> bool:
        """True while messages can be sent."""
        return self.link.can_send

    def send(self, name: str, data: Any = None) -> bool:
        """Send the event ``name``.

        Returns False if the connection is closing, or is closed now because its client reads too
        slowly.  Raises :class:`~x121.ws.threads.WrongThread` outside the reactor's thread.
        """
        return self.send_payload(encode_event(name, data))

    def send_payload(self, payload: bytes, *, is_binary: bool = False) -> bool:
        """Send ``payload`` as one message, unchanged; otherwise like :meth:`send`."""
        check_thread("WsConnection")
        return self.link.send_frame(make_frame(payload, is_binary=is_binary))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection with 1000, or with an application's code from 3000 to 4999.

        ``reason`` is cut off after 123 bytes in UTF-8.  Raises :class:`ValueError` for another
        code.
        """
        check_thread("WsConnection")
        if code != 1000 and not 3000 <= code <= 4999:
            raise ValueError(f"invalid close code {code}: expected 1000, or 3000 to 4999")
        self.link.end(code, reason)

    def on_close(self, call: Callable[[], object]) -> None:
        """Call ``call()`` once the connection is closed, for whatever reason.

        Call it at once if the connection is closed already.
        """
        check_thread("WsConnection")
        if self.is_gone:
            call()
        else:
            self._on_close.append(call)

    def gone(self) -> None:
        """Run the ``on_close`` callbacks; only the protocol calls this."""
        self.is_gone = True
        calls, self._on_close = self._on_close, []
        for call in calls:
            try:
                call()
            except Exception:
                _log.failure("An on_close callback of a WebSocket failed", connection_id=self.id)

    def abort(self) -> None:
        """Drop the connection at once, without a close frame."""
        check_thread("WsConnection")
        self.dropped = True
        self.link.abort()
