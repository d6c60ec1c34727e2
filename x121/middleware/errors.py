"""Middleware that turns failures into JSON error responses, and logs server errors.

It is inside ``cors``, whose headers its responses carry, and outside everything that may fail.
Failures arrive in three ways: raised by an inner resource, passed later to
``request.processingFailed``, or already rendered as a page by a foreign resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.server import NOT_DONE_YET

from x121.errors import AppError, MethodNotAllowed, as_app_error, error_for_status
from x121.errors.reporting import log_failure
from x121.http.exchange import Exchange
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["Errors"]

_log = Logger(namespace="x121.errors")
_LINE = "{method} {path}: {log_reason}"


class Errors(Middleware):
    """Turns failures into the contract's ``{"error", "code", "details"?}``."""

    def render(self, request: Request) -> Rendered:
        """Handle the request, or reject it if the channel found it invalid."""
        request.on_failure = self.answer
        request.before_head(self._replace_foreign_page)
        if request.refusal is not None:
            request.fail(request.refusal)
            return NOT_DONE_YET
        try:
            return self.inner.render(request)
        except Exception:
            self.answer(request, Failure())
            return NOT_DONE_YET

    def answer(self, request: Request, failure: Failure) -> None:
        """Log ``failure`` if it needs attention, and respond if the client is still connected."""
        if request.is_finished and failure.check(CancelledError):
            return  # the handler ended because its request did
        request.fail(self.error_for(failure, request))

    def error_for(self, failure: Failure | BaseException, request: Request | Exchange) -> AppError:
        """Return the error to send for ``failure``, and log that if it needs attention."""
        error = _as_app_error(failure.value if isinstance(failure, Failure) else failure)
        log_failure(failure, error, _LINE, **_about(request))
        return error

    def foreign_page_error(
        self,
        code: int,
        content_type: bytes | None,
        fields: Iterable[tuple[bytes, bytes]],
        request: Request | Exchange,
    ) -> AppError | None:
        """Return an error to send in place of a page in another format, such as Twisted's HTML.

        The arguments are those of a response with an error's ``code``.  Returns None if it is JSON.
        """
        kind = content_type or b""
        if kind.partition(b";")[0].strip().lower() == b"application/json":
            return None
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        error = error_for_status(code, headers)
        if error.ours:
            _log.error(_LINE, log_reason="a page with status 500", **_about(request))
        return error

    def _replace_foreign_page(self, request: Request) -> bytes | None:
        """Return a body to replace that of a page in another format."""
        if request.code < 400:
            return None
        headers = request.responseHeaders
        lines = headers.getAllRawHeaders()
        fields = ((name, value) for name, values in lines for value in values)
        content_type = headers.get(b"Content-Type")
        error = self.foreign_page_error(request.code, content_type, fields, request)
        if error is None:
            return None
        body = request.prepare_error(error)
        request.responseHeaders.put(b"Content-Length", b"%d" % len(body))
        return body


def _about(request: Request | Exchange) -> dict[str, str]:
    """Return the fields of a log line about ``request``."""
    return {
        "method": request.method.decode("latin-1"),
        "path": request.path.decode("latin-1"),
        "request_id": request.request_id,
    }


def _as_app_error(error: BaseException | None) -> AppError:
    if isinstance(error, UnsupportedMethod):
        methods: Sequence[bytes] = error.allowedMethods
        allowed = [method.decode("latin-1") for method in methods]
        return MethodNotAllowed("This path has no such method", allow=allowed)
    return as_app_error(error or Exception("a failure without an exception"))
