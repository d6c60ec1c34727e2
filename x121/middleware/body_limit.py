"""Refuses bodies over the limit with 413.

Stands inside of ``errors``, which answers the refusal, and outside of ``timeout``, because
nothing has begun yet.  The channel spares us the reading: it stops at the limit, before the
first byte where the length is announced, and marks the request as overflowed.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.web.resource import IResource

from x121.errors import PayloadTooLarge
from x121.http.request import Request
from x121.middleware._wrapper import Rendered, Wrapper

__all__ = ["BodyLimit"]


class BodyLimit(Wrapper):
    """Lets requests through whose body is at most ``max_bytes`` long."""

    def __init__(self, inner: IResource, *, max_bytes: int) -> None:
        super().__init__(inner)
        self._max_bytes = max_bytes

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`PayloadTooLarge`."""
        if request.overflowed or _size(request) > self._max_bytes:
            raise PayloadTooLarge(f"The body is larger than {self._max_bytes} bytes")
        return super().render(request)


def _size(request: Request) -> int:
    content: Any = request.content
    size: int = content.seek(0, os.SEEK_END)
    content.seek(0)
    return size
