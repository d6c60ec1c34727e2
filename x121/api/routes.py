"""Which feature is served where: one line each."""

from __future__ import annotations

from x121.api.health import Health
from x121.api.projects import Projects
from x121.api.router import Router
from x121.app_state import AppState
from x121.console import mount_console
from x121.docs.endpoints import EndpointDocs
from x121.docs.messages import MessageDocs
from x121.ws.echo import Echo
from x121.ws.router import WsRouter

__all__ = ["api_routes", "routes", "ws_routes"]


def api_routes(state: AppState) -> Router:
    """Return the features' routes, below ``/api/v1``: one line a feature."""
    router = Router()
    router.nest("/projects", Projects(state).router)
    return router


def ws_routes(state: AppState) -> WsRouter:
    """Return what is answered and told over WebSockets, at ``/ws``: one line a feature."""
    websockets = WsRouter(state.config, state.ws_manager)
    websockets.nest(Projects(state).messages)
    return websockets


def routes(state: AppState) -> Router:
    """Return every route of the server."""
    websockets = ws_routes(state)
    router = Router().nest("/health", Health(state).router).nest("/api/v1", api_routes(state))
    if state.config.server.diagnostics:
        websockets.mount("/echo", Echo())
        mount_console(state, router, websockets)
    router.nest("/ws", websockets.routes)
    if state.config.server.api_docs:
        MessageDocs(websockets).serve(router)
        EndpointDocs(router).serve(router)
    return router
