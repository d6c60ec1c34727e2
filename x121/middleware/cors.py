"""Middleware that allows cross-origin requests from allowed origins, with credentials.

It follows the CORS protocol of the Fetch standard
(https://fetch.spec.whatwg.org/#http-cors-protocol).  It is outside ``errors`` and ``timeout``, so
that a page can read those responses too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from x121.errors import Forbidden
from x121.http.origins import quoted
from x121.http.request import Request
from x121.http.response import field_lines
from x121.middleware.base import Middleware, Rendered

__all__ = ["ALLOWED_HEADERS", "ALLOWED_METHODS", "CONDITIONS", "MAX_AGE_SECS", "Cors"]

ALLOWED_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
ALLOWED_HEADERS = ("Content-Type", "Authorization")
CONDITIONS = ("If-Match", "If-None-Match")
"""Also allowed, but listed only in the response to a preflight that asks for one of them."""
MAX_AGE_SECS = 3600

# Allowed without a preflight (Fetch, "CORS-safelisted request-header").
_SAFELISTED = frozenset((b"accept", b"accept-language", b"content-language"))
_KNOWN_METHODS = frozenset(method.encode() for method in ALLOWED_METHODS) | {b"HEAD"}
# Exposed if the response has them; the names are canonical.
_TELLING = (b"ETag", b"Location")
_PREFLIGHT_VARY = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

Get = Callable[[bytes], bytes | None]


class Cors(Middleware):
    """Responds to preflights, and adds the CORS headers to every other response.

    ``cors_origins`` are the exact origins allowed, as browsers send them.  Their pages may send
    ``request_headers`` and read ``response_headers``, in addition to the built-in ones.
    """

    def __init__(
        self,
        inner: IResource,
        *,
        cors_origins: Sequence[str],
        request_headers: Sequence[str] = (),
        response_headers: Sequence[str] = (),
    ) -> None:
        super().__init__(inner)
        self._origins = frozenset(origin.encode() for origin in cors_origins)
        self._allowed_headers = (*ALLOWED_HEADERS, *request_headers)
        self._known_headers = _SAFELISTED | {
            name.lower().encode() for name in (*self._allowed_headers, *CONDITIONS)
        }
        self._exposed = ", ".join(("X-Request-Id", *response_headers)).encode()
        self._lines = {
            origin: field_lines(self.fields_for(origin, lambda _: None))
            for origin in (*self._origins, None)
        }

    def render(self, request: Request) -> Rendered:
        """Respond to a preflight; pass any other request on."""
        if _is_preflight(request):
            self._answer_preflight(request)
            return NOT_DONE_YET
        request.before_head(self._put_on_answer)
        return self.inner.render(request)

    def _put_on_answer(self, request: Request) -> None:
        headers = request.responseHeaders
        for name, value in self.fields_for(request.requestHeaders.get(b"Origin"), headers.joined):
            headers.put(name, value)

    def fields_for(self, origin: bytes | None, get: Get) -> list[tuple[bytes, bytes]]:
        """Return the fields to set on a response to a page of ``origin``.

        ``get`` returns the value of a field that the response has already.
        """
        fields = [_vary(b"Origin", get)]
        if origin is not None and origin in self._origins:
            fields += _grant(origin)
            present = [name for name in _TELLING if get(name) is not None]
            exposed = b", ".join((self._exposed, *present)) if present else self._exposed
            fields.append((b"Access-Control-Expose-Headers", exposed))
        return fields

    def lines_for_json(self, origin: bytes | None) -> bytes:
        """Return the same fields as lines, for a response that has none of those they depend on."""
        return self._lines.get(origin) or self._lines[None]

    def _answer_preflight(self, request: Request) -> None:
        request.before_head(_vary_on_preflight)
        refused = self._refusal(request)
        if refused is not None:
            request.fail(Forbidden(refused))
            return
        request.setResponseCode(204)
        for field in _grant(request.requestHeaders.get(b"Origin") or b""):
            request.responseHeaders.put(*field)
        request.setHeader(b"Access-Control-Allow-Methods", ", ".join(ALLOWED_METHODS))
        asked = {name.lower() for name in _asked_headers(request)}
        conditions = [name for name in CONDITIONS if name.lower().encode() in asked]
        allowed = ", ".join((*self._allowed_headers, *conditions))
        request.setHeader(b"Access-Control-Allow-Headers", allowed)
        request.setHeader(b"Access-Control-Max-Age", b"%d" % MAX_AGE_SECS)
        request.finish()

    def _refusal(self, request: Request) -> str | None:
        """Return the reason to reject a preflight, or None."""
        origin = request.getHeader(b"Origin") or b""
        if origin not in self._origins:
            return f"Origin {quoted(origin)} is not allowed"
        method = request.getHeader(b"Access-Control-Request-Method") or b""
        if method not in _KNOWN_METHODS:
            return f"Method {quoted(method)} is not allowed from another origin"
        for name in _asked_headers(request):
            if name.lower() not in self._known_headers:
                return f"Header {quoted(name)} is not allowed from another origin"
        return None


def _asked_headers(request: Request) -> list[bytes]:
    """Return the header names that a preflight asks for, in its own spelling."""
    values = request.requestHeaders.getRawHeaders(b"Access-Control-Request-Headers", [])
    names = (name.strip() for name in b",".join(values).split(b","))
    return [name for name in names if name]


def _is_preflight(request: Request) -> bool:
    headers = request.requestHeaders
    return (
        request.method == b"OPTIONS"
        and request.refusal is None
        and headers.hasHeader(b"Origin")
        and headers.hasHeader(b"Access-Control-Request-Method")
    )


def _grant(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Credentials", b"true"),
    ]


def _vary_on_preflight(request: Request) -> None:
    headers = request.responseHeaders
    headers.put(*_vary(_PREFLIGHT_VARY, headers.joined))


def _vary(names: bytes, get: Get) -> tuple[bytes, bytes]:
    """Return the field Vary with ``names``, after those of the handler, if there are any."""
    present = get(b"Vary")
    return b"Vary", names if present is None else present + b", " + names
