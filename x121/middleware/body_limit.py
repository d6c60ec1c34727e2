"""Middleware that rejects request bodies over the limit with 413.

It is inside ``errors``, which sends the 413, and outside ``timeout``, because no handler has
started.  The channel counts: it stops reading at the limit, or before the first byte if the
Content-Length is over it, and sets ``body_too_large`` on the request.
"""

from __future__ import annotations

from twisted.web.resource import IResource

from x121.errors import PayloadTooLarge
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["BodyLimit"]


class BodyLimit(Middleware):
    """Accepts requests with a body of at most ``max_body_bytes``."""

    def __init__(self, inner: IResource, *, max_body_bytes: int) -> None:
        super().__init__(inner)
        self._max_body_bytes = max_body_bytes

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`PayloadTooLarge`."""
        if request.body_too_large:
            raise PayloadTooLarge(f"The body is larger than {self._max_body_bytes} bytes")
        return self.inner.render(request)
