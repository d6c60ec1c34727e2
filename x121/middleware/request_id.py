"""Middleware that gives every request an id, for its response and its log lines.

It is the outermost, because the log lines and responses of all other middleware carry the id.  An
``X-Request-Id`` from a trusted proxy is kept, so that both logs can be joined; from any other
client it is ignored.
"""

from __future__ import annotations

import re

from x121.core.ids import make_id
from x121.http.facts import RequestFacts
from x121.http.request import Request
from x121.logs import REQUEST_ID
from x121.middleware.base import Middleware, Rendered

__all__ = ["RequestId"]

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestId(Middleware):
    """Sets ``request.request_id``, and ``X-Request-Id`` on every response."""

    def render(self, request: Request) -> Rendered:
        """Handle the request with its id in the context, which coroutines keep."""
        self.identify(request)
        request.before_head(_put_on_answer)
        return self.inner.render(request)

    def identify(self, request: RequestFacts) -> None:
        """Set the id of ``request``, here and in its context."""
        forwarded_id = None
        if request.is_through_trusted_proxy:
            forwarded_id = request.requestHeaders.get(b"X-Request-Id")
        if forwarded_id is not None and _ACCEPTABLE.fullmatch(forwarded_id):
            request.request_id = forwarded_id.decode("ascii")
        else:
            request.request_id = make_id()
        REQUEST_ID.set(request.request_id)  # each request has its own context


def _put_on_answer(request: Request) -> None:
    request.responseHeaders.put(b"X-Request-Id", request.request_id.encode("ascii"))
