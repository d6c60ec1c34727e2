"""Router of ``/ws``: the handlers of its messages, and other WebSocket endpoints below it."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import TYPE_CHECKING, Any

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
from x121.ws.loading import load_autobahn
from x121.ws.manager import WsManager

if TYPE_CHECKING:
    from x121.ws.protocol import Endpoint, WsFactory

__all__ = ["WsRouter"]

_MEMBERS = ("takes_events", "opened", "received")


class WsRouter:
    """WebSocket endpoints; ``routes`` is nested into an HTTP router.

    The route ``/`` is the endpoint for the messages of :mod:`x121.messaging.codec`, including
    those of :mod:`x121.messaging.built_in`.  ``authenticate`` returns the user id of a handshake,
    or rejects it.

    ``handlers`` and ``events`` are those of all features, by type and by name.  ``endpoints`` are
    the mounted ones, by path.
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
        self._config = config.ws
        self._manager = manager
        self._factory: WsFactory | None = None
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
        """Add the handlers, events and topics of a feature, and return ``self``.

        Raises :class:`ValueError` for a type that has a handler already, for an event or a topic
        that is declared already, and for a topic without a rule.
        """
        for handler in handlers:
            if handler.type in self.handlers:
                raise ValueError(f"the message type {handler.type!r} has a handler already")
            self.handlers[handler.type] = handler
        for event in handlers.events:
            if event.name in self.events:
                raise ValueError(f"the event {event.name!r} is declared already")
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

        ``authenticate`` and ``origins`` override the router's for this endpoint; ``origins`` are
        those of the pages that may connect besides the server's own.  Raises :class:`TypeError`
        for an object that isn't an endpoint.
        """
        missing = [name for name in _MEMBERS if not hasattr(endpoint, name)]
        if missing:
            raise TypeError(
                f"{path}: the endpoint has no {missing[0]} (expected {', '.join(_MEMBERS)})"
            )
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
        if self._factory is None or isinstance(user_id, Awaitable):
            return self._upgrade_later(endpoint, user_id)
        return Upgrade(self._factory, endpoint, user_id)

    async def _upgrade_later(self, endpoint: Endpoint, user_id: Any) -> IResource:
        if isinstance(user_id, Awaitable):
            user_id = await user_id
        if self._factory is None:
            await load_autobahn(self._manager.clock)
        return Upgrade(self._make_factory(), endpoint, user_id)

    def _make_factory(self) -> WsFactory:
        """Return the factory, which all connections share."""
        from x121.ws.protocol import WsFactory  # loads Autobahn

        self._factory = self._factory or WsFactory(self._config, self._manager)
        return self._factory
