"""Routes and messages of the server: the application's features and the built-in ones."""

from __future__ import annotations

from x121.application import Application, AppState
from x121.builtin.docs.endpoints import EndpointDocs
from x121.builtin.docs.messages import MessageDocs
from x121.builtin.health import Health
from x121.messaging.router import WsRouter
from x121.web.router import Router
from x121.ws.handshake import Authenticate, no_authentication

__all__ = ["all_routes", "api_routes", "ws_routes"]


def api_routes(state: AppState) -> Router:
    """Return the routes of the application's features, which must be built."""
    router = Router()
    for mount in state.mounts:
        if mount.feature.router is not None:
            router.nest(mount.prefix, mount.feature.router)
    return router


def ws_routes(state: AppState) -> WsRouter:
    """Return the messages and events of the same features, served at ``/ws``."""
    websockets = WsRouter(state.config, state.ws_manager, authenticate=_authenticate(state))
    for mount in state.mounts:
        if mount.feature.messages is not None:
            websockets.nest(mount.feature.messages)
        for path, endpoint in mount.feature.endpoints.items():
            websockets.mount(path, endpoint)
    return websockets


def all_routes(application: Application, state: AppState) -> Router:
    """Return every route of the server; builds the features of ``application``."""
    application.build(state)
    websockets = ws_routes(state)
    router = api_routes(state).nest("/health", Health(state).router)
    if state.config.server.diagnostics:
        # Not at the top, because few servers have them.
        from x121.builtin.console import mount_console
        from x121.builtin.echo import Echo

        websockets.mount("/echo", Echo())
        mount_console(state, router, websockets)
    router.nest("/ws", websockets.routes)
    if state.config.server.api_docs:
        MessageDocs(websockets, application.title, application.version).serve(router)
        EndpointDocs(router, application.title, application.version).serve(router)
    return router


def _authenticate(state: AppState) -> Authenticate:
    """Return the ``authenticate`` method for WebSocket handshakes.

    Raises :class:`ValueError` if several features have one.
    """
    features = [mount.feature for mount in state.mounts if mount.feature.authenticate is not None]
    if len(features) > 1:
        names = " and ".join(type(feature).__name__ for feature in features)
        raise ValueError(
            f"{names} both have a method authenticate: expected at most one feature with it"
        )
    return next(
        (feature.authenticate for feature in features if feature.authenticate), no_authentication
    )
