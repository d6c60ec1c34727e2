"""One WebSocket connection, as features and the manager hold it."""

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
    """What is beneath a connection: a WebSocket, which may be closing or closed already."""

    @property
    def waiting_bytes(self) -> int:
        """How much of what was sent is not on its way yet."""

    @property
    def can_send(self) -> bool:
        """Whether the handshake is done, and no close frame was sent yet."""

    def send_frame(self, frame: bytes) -> bool:
        """Send a whole frame.  Return whether it was taken."""

    def end(self, code: int, reason: str) -> None:
        """Send a close frame now, and close when the peer has answered it."""

    def close_after_replies(self) -> None:
        """Close with 1001 once the messages that came in so far are answered."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def ping(self) -> None:
        """Send a ping."""

    def expect_activity(self) -> None:
        """Begin to listen for a sign of life."""

    def is_alive(self) -> bool:
        """Whether there was one since then, or none is to be expected."""

    def fail_ping(self) -> None:
        """Send 1011 and drop the connection."""


class WsConnection:
    """A client that is connected.

    ``id`` is a UUID, version 4; ``user_id`` is whose connection it is, None for nobody's;
    ``connected_at`` is when it came, in UTC, and ``is_gone`` whether it left; ``takes_events``
    tells whether its endpoint speaks JSON messages, so that events are for it; ``topics`` are those
    that it is subscribed to; ``link`` is what is beneath it, and ``dropped`` whether we ended that:
    the server's own.
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
        """Whether anything can be sent."""
        return self.link.can_send

    def send(self, name: str, data: Any = None) -> bool:
        """Send the event ``name``.

        Returns whether it was taken: not by a connection that is closing, or whose client is so
        slow that it is closed for it.  Raises :class:`~x121.ws.threads.WrongThread` outside of
        the reactor's thread.
        """
        return self.send_payload(encode_event(name, data))

    def send_payload(self, payload: bytes, *, is_binary: bool = False) -> bool:
        """Send one message as it is; otherwise like :meth:`send`."""
        check_thread("WsConnection")
        return self.link.send_frame(make_frame(payload, is_binary=is_binary))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection: with 1000, or a code of the application's, from 3000 to 4999.

        ``reason`` is at most 123 bytes long in UTF-8; what is longer is cut off.  Raises
        :class:`ValueError` for another code.
        """
        check_thread("WsConnection")
        if code != 1000 and not 3000 <= code <= 4999:
            raise ValueError(f"a connection is closed with 1000 or 3000 to 4999, not {code}")
        self.link.end(code, reason)

    def on_close(self, call: Callable[[], object]) -> None:
        """Call ``call()`` once the connection is gone, however that comes about.

        At once, if it is gone already.
        """
        check_thread("WsConnection")
        if self.is_gone:
            call()
        else:
            self._on_close.append(call)

    def gone(self) -> None:
        """Tell those who wait for it that the connection is gone; for the protocol alone."""
        self.is_gone = True
        calls, self._on_close = self._on_close, []
        for call in calls:
            try:
                call()
            except Exception:
                _log.failure("Failed when a WebSocket was gone", connection_id=self.id)

    def abort(self) -> None:
        """Drop the connection at once, without a word."""
        check_thread("WsConnection")
        self.dropped = True
        self.link.abort()
