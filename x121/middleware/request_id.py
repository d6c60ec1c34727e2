"""Gives every request an id, puts it on the answer and on every log line.

Stands outermost, because the lines and answers of all other wrappers carry the id.  A
trusted proxy's own ``X-Request-Id`` is kept, so that its log and ours can be joined; anybody
else's is ignored.
"""

from __future__ import annotations

import re

from x121.core.ids import make_id
from x121.http.request import Request
from x121.logs import REQUEST_ID
from x121.middleware.base import Middleware, Rendered

__all__ = ["RequestId"]

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestId(Middleware):
    """Sets ``request.request_id``, and ``X-Request-Id`` on every answer."""

    def render(self, request: Request) -> Rendered:
        """Handle the request with its id in the context, which coroutines keep."""
        given = request.given_request_id
        if given is not None and _ACCEPTABLE.fullmatch(given):
            request.request_id = given.decode("ascii")
        else:
            request.request_id = make_id()
        request.before_head(_put_on_answer)
        REQUEST_ID.set(request.request_id)  # each request has a context of its own
        return self.inner.render(request)


def _put_on_answer(request: Request) -> None:
    request.responseHeaders.put(b"X-Request-Id", request.request_id.encode("ascii"))
