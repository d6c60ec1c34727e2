"""Which feature is served where: one line each."""

from __future__ import annotations

from x121.api.health import Health
from x121.api.router import Router
from x121.app_state import AppState

__all__ = ["api_routes", "routes"]


def api_routes(state: AppState) -> Router:
    """Return the features' routes, below ``/api/v1``: one ``.nest()`` a feature.

    ``.nest("/projects", Projects(state).router)`` serves ``/api/v1/projects`` and below.
    """
    return Router()


def routes(state: AppState) -> Router:
    """Return every route of the server."""
    return Router().nest("/health", Health(state).router).nest("/api/v1", api_routes(state))
