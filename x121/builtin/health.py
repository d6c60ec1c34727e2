"""``/health``, ``/health/live`` and ``/health/ready``: for load balancers and for people."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from x121.application import Check, Feature, Stage
from x121.core.models import Model
from x121.errors import ServiceUnavailable
from x121.web.responses import json_response
from x121.web.router import Router

__all__ = ["Health"]

_log = Logger()


class Status(Model):
    """All is well."""

    status: Literal["ok"]


class NotReady(ServiceUnavailable):
    """The server can't serve now; ``state`` says why, in a word."""

    documented_members: ClassVar = {
        "status": Literal["starting", "draining", "unreachable", "read-only", "unready"]
    }

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state

    def body(self) -> dict[str, Any]:
        """Return the form of every error, and ``status`` as the answers with 200 have it."""
        return {**super().body(), "status": self.state}


class Health(Feature):
    """Health: whether the server is there, and whether it can work."""

    router = Router()

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
        """The database takes writes, its migrations are applied, every feature is ready, and nobody
        asked the server to stop.

        With `DB_TARGET_SESSION_ATTRS=any` it may be read-only.
        """
        stage = self.state.lifecycle.stage
        if stage is not Stage.SERVING:
            raise NotReady(f"The server is {stage.value}", stage.value)
        known = self.state.pool.stats()
        if known.last_error and not known.size:
            raise NotReady("The database can't be reached", "unreachable")
        if self.state.config.db.target_session_attrs == "any":
            await self.state.pool.fetch_one("SELECT 1")
        elif not await self.state.pool.is_writable():
            raise NotReady("The database is read-only", "read-only")
        await self._check_features()
        return json_response(request, {"status": "ok"})

    async def _check_features(self) -> None:
        """Ask every readiness check, all at once.  Raises :class:`NotReady`."""
        checks = [check for mount in self.state.mounts for check in mount.feature.checks]
        passed = await gatherResults([ensureDeferred(self._passes(check)) for check in checks])
        failed = [
            check.name for check, is_passed in zip(checks, passed, strict=True) if not is_passed
        ]
        if failed:
            raise NotReady(f"Not ready: {', '.join(failed)}", "unready")

    async def _passes(self, check: Check) -> bool:
        try:
            await maybeDeferred(check.call).addTimeout(check.timeout_secs, self.state.clock)
        except CancelledError:
            raise  # the client has left
        except DeferredTimeoutError:
            reason = f"no answer within {check.timeout_secs:g} s"
        except Exception as error:
            reason = str(error) or type(error).__name__
        else:
            return True
        _log.warn("The readiness check {check} failed: {reason}", check=check.name, reason=reason)
        return False
