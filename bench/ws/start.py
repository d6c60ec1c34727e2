"""``twistd`` as it is, but ``x121`` also has an endpoint that broadcasts.

``python -m bench.ws.start``.  The endpoint is ``/ws`` once more, with one message of its own.
"""

from __future__ import annotations

from functools import partial

from twisted.scripts.twistd import run

from bench.ws.contract import BROADCAST, EVENT, PATH
from x121 import tap
from x121.api.router import Router
from x121.api.routes import routes
from x121.app_state import AppState
from x121.ws.messages import Handlers, Message
from x121.ws.router import WsRouter


class Bench:
    """Broadcasts what it is told to, and says how many connections took it."""

    messages = Handlers()

    def __init__(self, state: AppState) -> None:
        self._manager = state.ws_manager

    @messages.on(BROADCAST)
    async def broadcast(self, message: Message) -> int:
        """Send the data to everybody."""
        return self._manager.broadcast(EVENT, message.data)


def routes_with_bench(state: AppState) -> Router:
    """Return every route of the server, and that endpoint."""
    websockets = WsRouter(state.config, state.ws_manager).nest(Bench(state).messages)
    return routes(state).nest(PATH, websockets.routes)


if __name__ == "__main__":
    # twistd takes this name from the module that the plugin names.
    tap.makeService = partial(tap.makeService, make_routes=routes_with_bench)
    run()
