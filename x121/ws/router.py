"""Which handlers answer the messages of ``/ws``, and which other endpoints there are below it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from klein import Klein
from twisted.web.resource import IResource

from x121.config import AppConfig
from x121.http.request import Request
from x121.ws.dispatch import Dispatch
from x121.ws.handshake import Authenticate, Upgrade, anonymous, check_handshake
from x121.ws.manager import WsManager
from x121.ws.messages import Handler, Handlers, Message
from x121.ws.protocol import Endpoint, WsFactory

__all__ = ["WsRouter"]

_MEMBERS = ("takes_events", "opened", "received")


class WsRouter:
    """Endpoints for WebSockets, to be nested into a router for HTTP as ``routes``.

    The route ``/`` is the endpoint that speaks the messages of :mod:`x121.ws.wire`, with a
    ``ping`` built in.  ``authenticate`` says whose a handshake is, or refuses it.
    """

    def __init__(
        self,
        config: AppConfig,
        manager: WsManager,
        *,
        authenticate: Authenticate = anonymous,
    ) -> None:
        self._origins = frozenset(origin.encode() for origin in config.ws.allowed_origins)
        self._authenticate = authenticate
        self._factory = WsFactory(config.ws, manager)
        self._handlers: dict[str, Handler] = {"ping": _pong}
        self.routes = Klein()
        seconds = config.server.request_timeout_secs
        self.mount("/", Dispatch(self._handlers, seconds=seconds, clock=manager.clock))

    def nest(self, handlers: Handlers) -> WsRouter:
        """Let ``handlers`` answer the messages of their types, and return ``self``.

        Raises :class:`ValueError` for a type that is answered already.
        """
        for message_type, handler in handlers:
            if message_type in self._handlers:
                raise ValueError(f"messages of type {message_type!r} are answered already")
            self._handlers[message_type] = handler
        return self

    def mount(self, path: str, endpoint: Endpoint) -> WsRouter:
        """Serve ``endpoint`` at ``path``, and return ``self``.

        Raises :class:`TypeError` for what is no endpoint.
        """
        missing = [name for name in _MEMBERS if not hasattr(endpoint, name)]
        if missing:
            raise TypeError(f"{path}: an endpoint has {', '.join(_MEMBERS)}; no {missing[0]} here")

        def upgrade(request: Request) -> Any:
            return self._upgrade(request, endpoint)

        self.routes.route(path, methods=["GET"], endpoint=f"websocket {path}")(upgrade)
        return self

    def _upgrade(self, request: Request, endpoint: Endpoint) -> Any:
        check_handshake(request, self._origins)
        user_id = self._authenticate(request)
        if isinstance(user_id, Awaitable):
            return self._upgrade_later(user_id, endpoint)
        return Upgrade(self._factory, endpoint, user_id)

    async def _upgrade_later(self, user_id: Awaitable[Any], endpoint: Endpoint) -> IResource:
        return Upgrade(self._factory, endpoint, await user_id)


def _pong(message: Message) -> str:
    return "pong"
