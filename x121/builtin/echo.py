"""Echo endpoint, for tests of clients, proxies, and this server."""

from __future__ import annotations

from x121.ws.connection import WsConnection

__all__ = ["Echo"]


class Echo:
    """Sends every message back unchanged, and no events."""

    takes_events = False

    def opened(self, connection: WsConnection) -> None:
        """Do nothing: there is no first message."""

    def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> None:
        """Send the message back."""
        connection.send_payload(payload, is_binary=is_binary)
