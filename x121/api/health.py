"""``/health``, ``/health/live`` and ``/health/ready``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from twisted.web.iweb import IRequest

from x121.api.responses import json_response
from x121.api.router import Router
from x121.app_state import AppState, Stage
from x121.errors import ServiceUnavailable
from x121.models.base import Model

__all__ = ["Health"]


class Status(Model):
    """All is well."""

    status: Literal["ok"]


class NotReady(ServiceUnavailable):
    """The server can't serve now; ``state`` says why, in a word."""

    documented_members: ClassVar = {
        "status": Literal["starting", "draining", "unreachable", "read-only"]
    }

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state

    def body(self) -> dict[str, Any]:
        """Return the form of every error, and ``status`` as the answers with 200 have it."""
        return {**super().body(), "status": self.state}


class Health:
    """Is the server there, and can it work?  For load balancers and for people."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        self._state = state

    @router.route("/", result=Status)
    def health(self, request: IRequest) -> bytes:
        """The server answers; the database isn't asked."""
        return json_response(request, {"status": "ok"})

    @router.route("/live", result=Status)
    def live(self, request: IRequest) -> bytes:
        """The reactor turns."""
        return json_response(request, {"status": "ok"})

    @router.route("/ready", result=Status, errors=[NotReady])
    async def ready(self, request: IRequest) -> bytes:
        """The database takes writes, its migrations are applied, and nobody asked us to stop.

        With `DB_TARGET_SESSION_ATTRS=any` it may be read-only.
        """
        stage = self._state.lifecycle.stage
        if stage is not Stage.SERVING:
            raise NotReady(f"The server is {stage.value}", stage.value)
        known = self._state.pool.stats()
        if known.last_error and not known.size:
            raise NotReady("The database can't be reached", "unreachable")
        if self._state.config.db.target_session_attrs == "any":
            await self._state.pool.fetch_one("SELECT 1")
        elif not await self._state.pool.is_writable():
            raise NotReady("The database is read-only", "read-only")
        return json_response(request, {"status": "ok"})
