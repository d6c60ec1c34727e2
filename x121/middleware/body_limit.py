"""Refuses bodies over the limit with 413.

Stands inside of ``errors``, which answers the refusal, and outside of ``timeout``, because
nothing has begun yet.  The channel counts: it stops reading at the limit, before the first
byte where the length is announced, and marks the request as body_too_large.
"""

from __future__ import annotations

from twisted.web.resource import IResource

from x121.errors import PayloadTooLarge
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["BodyLimit"]


class BodyLimit(Middleware):
    """Lets requests through whose body is at most ``max_body_bytes`` long."""

    def __init__(self, inner: IResource, *, max_body_bytes: int) -> None:
        super().__init__(inner)
        self._max_body_bytes = max_body_bytes

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`PayloadTooLarge`."""
        if request.body_too_large:
            raise PayloadTooLarge(f"The body is larger than {self._max_body_bytes} bytes")
        return self.inner.render(request)
