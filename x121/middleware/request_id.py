"""Gives every request an id, puts it on the answer and on every log line.

Stands outermost, because the lines and answers of all other wrappers carry the id.  A
trusted proxy's own ``X-Request-Id`` is kept, so that its log and ours can be joined; anybody
else's is ignored.
"""

from __future__ import annotations

import os
import re

from x121.http.request import Request
from x121.logs import REQUEST_ID
from x121.middleware._wrapper import Rendered, Wrapper

__all__ = ["RequestId", "make_request_id"]

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestId(Wrapper):
    """Sets ``request.request_id``, and ``X-Request-Id`` on every answer."""

    def render(self, request: Request) -> Rendered:
        """Handle the request with its id in the context, which coroutines keep."""
        given = request.given_request_id
        if given is not None and _ACCEPTABLE.fullmatch(given):
            request.request_id = given.decode("ascii")
        else:
            request.request_id = make_request_id()
        request.before_head(_put_on_answer)
        REQUEST_ID.set(request.request_id)  # each request has a context of its own
        return super().render(request)


def make_request_id() -> str:
    """Return a random UUID, version 4 (RFC 9562 section 5.4), as text.

    The standard library's ``uuid4`` gives the same at five times the cost.
    """
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _put_on_answer(request: Request) -> None:
    request.setHeader(b"X-Request-Id", request.request_id.encode("ascii"))
