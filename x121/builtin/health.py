"""Health endpoints: ``/health``, ``/health/live`` and ``/health/ready``, for load balancers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.logger import Logger

from x121.application import Check, Feature, Stage
from x121.core.models import Model
from x121.errors import ServiceUnavailable
from x121.web.router import Router

__all__ = ["Health"]

_log = Logger()


class Status(Model):
    """The status of a healthy server."""

    status: Literal["ok"]


_OK = Status(status="ok")


class NotReady(ServiceUnavailable):
    """The server is not ready; ``status`` is the reason, in one word."""

    documented_members: ClassVar = {
        "status": Literal["starting", "draining", "unreachable", "read-only", "unready"]
    }

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state

    def body(self) -> dict[str, Any]:
        """Return an error in the usual form, with ``status`` as in responses with 200."""
        return {**super().body(), "status": self.state}


class Health(Feature):
    """Health: liveness and readiness of the server."""

    router = Router()

    @router.get("/")
    def health(self) -> Status:
        """Return 200 if the server runs; the database is not checked."""
        return _OK

    @router.get("/live")
    def live(self) -> Status:
        """Return 200 if the server's event loop runs."""
        return _OK

    @router.get("/ready", errors=[NotReady])
    async def ready(self) -> Status:
        """Return 200 if the server is ready for requests.

        The database accepts writes, its migrations are applied, every feature is ready, and the
        server is not shutting down.  With `DB_TARGET_SESSION_ATTRS=any` the database may be
        read-only.
        """
        stage = self.state.lifecycle.stage
        if stage is not Stage.SERVING:
            raise NotReady(f"The server is {stage.value}", stage.value)
        pool = self.state.pool.stats()
        if pool.last_error and not pool.size:
            raise NotReady("The database can't be reached", "unreachable")
        if self.state.config.db.target_session_attrs == "any":
            await self.state.pool.ping()
        elif not await self.state.pool.is_writable():
            raise NotReady("The database is read-only", "read-only")
        await self._check_features()
        return _OK

    async def _check_features(self) -> None:
        """Run all readiness checks at the same time.  Raises :class:`NotReady` if one fails."""
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
            raise  # the client has disconnected
        except DeferredTimeoutError:
            reason = f"timeout after {check.timeout_secs:g} s"
        except Exception as error:
            reason = str(error) or type(error).__name__
        else:
            return True
        _log.warn("The readiness check {check} failed: {reason}", check=check.name, reason=reason)
        return False
