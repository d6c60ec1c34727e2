"""WebSockets in memory, and the server's side of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from klein import Klein

from tests.memory import AppTestCase
from x121.application import AppState
from x121.messaging.handlers import Handlers
from x121.messaging.router import WsRouter
from x121.testing import websocket
from x121.testing.app import App, Served
from x121.testing.frames import CLOSE

__all__ = ["WebSocket", "WebSocketTestCase"]


class WebSocket(websocket.WebSocket):
    """A client whose handshake was accepted, and the server's side."""

    def __init__(
        self, app: App, path: str, headers: Mapping[str, str | None] | None = None
    ) -> None:
        self.app = app
        super().__init__(app.connect(), app.until, path, headers)
        self.begin()

    @property
    def protocol(self) -> Any:
        """The server's protocol."""
        return self.connection.transport.protocol

    @property
    def outbox(self) -> Any:
        """The server's outbox, which the transport tells when it has enough."""
        return self.connection.transport.producer

    @property
    def is_paused(self) -> bool:
        """Whether the server doesn't read."""
        return bool(self.connection.transport.producerState == "paused")

    def take_nothing(self) -> None:
        """Be a client that doesn't read, whose transport has enough."""
        self.outbox.pauseProducing()
        self.connection.transport.full = True


class WebSocketTestCase(AppTestCase):
    """A test with a server in memory, and clients."""

    way = "fast"
    """What ``X121_WEBSOCKET`` is for the servers."""

    def app(self, served: Served | None = None, **environ: str) -> App:
        """Return a server, with a feature that is ``served`` at ``/test``."""
        return super().app(served, **{"X121_WEBSOCKET": self.way, **environ})

    def serve(self, feature: Callable[[AppState], Handlers], **environ: str) -> App:
        """Return a server that answers the messages of ``feature`` at ``/test``."""

        def router(state: AppState) -> Klein:
            return WsRouter(state.config, state.ws_manager).nest(feature(state)).routes

        return self.app(router, **environ)

    def connect(
        self, app: App, path: str = "/ws", headers: Mapping[str, str | None] | None = None
    ) -> WebSocket:
        """Return a client that was welcomed."""
        client = WebSocket(app, path, headers)
        if path != "/ws/echo":
            (welcome,) = client.messages()
            self.assertEqual(welcome, {"type": "welcome", "data": {"connection_id": client.id}})
        return client

    def assertClosed(self, client: WebSocket, code: int) -> None:
        """Fail unless the one thing that came is a close frame with ``code``."""
        frames = client.frames()
        self.assertEqual([frame.opcode for frame in frames], [CLOSE], frames)
        self.assertEqual(frames[0].code, code)
