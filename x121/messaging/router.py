"""Which handlers answer the messages of ``/ws``, and which other endpoints there are below it."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any

from klein import Klein
from twisted.web.resource import IResource

from x121.config import AppConfig
from x121.http.request import Request
from x121.messaging.built_in import BuiltIn
from x121.messaging.endpoint import MessageEndpoint
from x121.messaging.events import Event
from x121.messaging.handler import Handler
from x121.messaging.handlers import Handlers
from x121.messaging.topics import Topics
from x121.ws.handshake import Authenticate, Upgrade, check_handshake, no_authentication
from x121.ws.manager import WsManager
from x121.ws.protocol import Endpoint, WsFactory

__all__ = ["WsRouter"]

_MEMBERS = ("takes_events", "opened", "received")


class WsRouter:
    """Endpoints for WebSockets, to be nested into a router for HTTP as ``routes``.

    The route ``/`` is the endpoint that speaks the messages of :mod:`x121.messaging.codec`, with
    those of :mod:`x121.messaging.built_in`.  ``authenticate`` returns the user id
    of a handshake, or refuses it.

    ``handlers`` and ``events`` are those of all features, by type and by name, and ``endpoints``
    the other ones, by path.
    """

    def __init__(
        self,
        config: AppConfig,
        manager: WsManager,
        *,
        authenticate: Authenticate = no_authentication,
    ) -> None:
        self._allowed_origins = frozenset(origin.encode() for origin in config.ws.allowed_origins)
        self._authenticate = authenticate
        self._factory = WsFactory(config.ws, manager)
        self._topics = Topics()
        self.handlers: dict[str, Handler] = {}
        self.events: dict[str, Event[Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.routes = Klein()
        messages = MessageEndpoint(
            self.handlers,
            request_timeout_secs=config.server.request_timeout_secs,
            max_json_values=config.server.max_json_values,
            clock=manager.clock,
        )
        self._serve("/", messages)
        self.nest(BuiltIn(manager, self._topics).messages)

    def nest(self, handlers: Handlers) -> WsRouter:
        """Let ``handlers`` answer the messages of their types, and return ``self``.

        Clients can subscribe to their topics.  Raises :class:`ValueError` for a type that is
        answered already, for an event or a topic that is declared already, and for a topic with no
        rule.
        """
        for handler in handlers:
            if handler.type in self.handlers:
                raise ValueError(f"messages of type {handler.type!r} are answered already")
            self.handlers[handler.type] = handler
        for event in handlers.events:
            if event.name in self.events:
                raise ValueError(f"there already is an event {event.name!r}")
            self.events[event.name] = event
        for topic, rule in handlers.topics:
            self._topics.add(topic, rule)
        return self

    def mount(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        authenticate: Authenticate | None = None,
        origins: Collection[bytes] | None = None,
    ) -> WsRouter:
        """Serve ``endpoint`` at ``path``, and return ``self``.

        ``authenticate`` says whose its handshakes are, and ``origins`` which pages may send them
        besides the server's own, where that isn't as with the others.  Raises :class:`TypeError`
        for what is no endpoint.
        """
        missing = [name for name in _MEMBERS if not hasattr(endpoint, name)]
        if missing:
            raise TypeError(f"{path}: an endpoint has {', '.join(_MEMBERS)}; no {missing[0]} here")
        self.endpoints[path] = endpoint
        return self._serve(path, endpoint, authenticate, origins)

    def _serve(
        self,
        path: str,
        endpoint: Endpoint,
        authenticate: Authenticate | None = None,
        origins: Collection[bytes] | None = None,
    ) -> WsRouter:
        allowed = self._allowed_origins if origins is None else origins

        def upgrade(request: Request) -> Any:
            check_handshake(request, allowed)
            return self._upgrade(endpoint, (authenticate or self._authenticate)(request))

        self.routes.route(path, methods=["GET"], endpoint=f"websocket {path}")(upgrade)
        return self

    def _upgrade(self, endpoint: Endpoint, user_id: Any) -> Any:
        if isinstance(user_id, Awaitable):
            return self._upgrade_later(user_id, endpoint)
        return Upgrade(self._factory, endpoint, user_id)

    async def _upgrade_later(self, user_id: Awaitable[Any], endpoint: Endpoint) -> IResource:
        return Upgrade(self._factory, endpoint, await user_id)
