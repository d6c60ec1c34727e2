"""Middleware that ends a request that takes too long: 408, and the handler is cancelled.

It is closest to the handler, whose time it measures, and inside ``errors`` and ``cors``, so that
its response carries their headers.  The response is sent before the handler is cancelled;
otherwise the handler's reaction to the cancellation would become the response.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from x121.core.deadlines import Deadlines
from x121.errors import RequestTimeout
from x121.http.exchange import Exchange
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["Timeout"]


class Timeout(Middleware):
    """Allows ``request_timeout_secs`` from a request's last byte until its handler responds."""

    def __init__(
        self, inner: IResource, *, request_timeout_secs: float, clock: IReactorTime
    ) -> None:
        super().__init__(inner)
        self._request_timeout_secs = request_timeout_secs
        self.deadlines: Deadlines[Request | Exchange] = Deadlines(
            request_timeout_secs, self._expired, clock=clock
        )

    def render(self, request: Request) -> Rendered:
        """Handle the request, and set its deadline unless the handler responds at once."""
        rendered = self.inner.render(request)
        if rendered is NOT_DONE_YET and not request.is_finished:
            self.deadlines.start(request)
            request.on_finish(self.deadlines.stop)
        return rendered

    def _expired(self, request: Request | Exchange) -> None:
        if request.is_delivering:
            return  # the handler was in time; its client may take longer
        seconds = self._request_timeout_secs
        request.fail(RequestTimeout(f"The request took longer than {seconds:g} s"))
        request.cancel()
