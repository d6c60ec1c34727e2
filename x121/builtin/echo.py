"""An endpoint that sends back what it gets: for tests of clients, proxies, and this server."""

from __future__ import annotations

from x121.ws.connection import WsConnection

__all__ = ["Echo"]


class Echo:
    """Sends every message back as it is, and nothing else."""

    takes_events = False

    def opened(self, connection: WsConnection) -> None:
        """Say nothing."""

    def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> None:
        """Send the message back."""
        connection.send_payload(payload, is_binary=is_binary)
