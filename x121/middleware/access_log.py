"""Middleware that logs one line for every request, when it is finished.

It is outside everything that can respond, so that every response is logged, and inside
``request_id``, whose id the line carries.  The path is logged without the query string, which may
contain user input.  Headers are never logged.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.web.resource import IResource

from x121.http.exchange import Exchange
from x121.http.request import Request
from x121.logs import log_event
from x121.middleware.base import Middleware, Rendered

__all__ = ["CLIENT_CLOSED_REQUEST", "AccessLog"]

CLIENT_CLOSED_REQUEST = 499
"""Logged, never sent: the client disconnected before the response was complete (as in nginx)."""

_log = Logger(namespace="x121.access")


class AccessLog(Middleware):
    """Logs method, path, status, duration, size and the client's address."""

    def __init__(self, inner: IResource, *, clock: IReactorTime, now: Callable[[], float]) -> None:
        super().__init__(inner)
        self.clock = clock
        self._now = now

    def render(self, request: Request) -> Rendered:
        """Handle the request and log it when it is finished."""
        begun = self.clock.seconds()
        request.on_finish(self.log, begun)
        return self.inner.render(request)

    def log(self, request: Request | Exchange, begun: float) -> None:
        """Log ``request``, which has arrived at ``begun`` and is finished."""
        duration = self.clock.seconds() - begun
        log_event(
            _log,
            LogLevel.info,
            self._now(),
            {
                "method": request.method.decode("latin-1"),
                "path": request.path.decode("latin-1"),
                "status": request.code if request.finished else _status(request),
                "duration_ms": int(duration * 1e6 + 0.5) / 1000,  # faster than round()
                "bytes": request.sentLength,
                "remote": request.remote,
                "request_id": request.request_id,
            },
        )


def _status(request: Request | Exchange) -> int:
    """Return the status of a request that has no complete response."""
    # The server itself may have dropped the connection, after a response that failed half-way.
    error = request.late_error
    return CLIENT_CLOSED_REQUEST if error is None else error.status
