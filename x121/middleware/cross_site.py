"""Middleware that rejects cross-site request forgery (CSRF) with 403.

A browser sends a preflight before most cross-origin requests (CORS), but not before a form's POST.
It does send the request's source: in ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/) and
in ``Origin``.  A client that sends neither is not a browser, and doesn't hold a victim's cookies.

It is inside ``cors``, whose headers the 403 carries, and inside ``errors``.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.resource import IResource

from x121.errors import Forbidden
from x121.http.facts import RequestFacts
from x121.http.origins import own_origin, quoted
from x121.http.request import Request
from x121.middleware.base import Middleware, Rendered

__all__ = ["CrossSite"]

# Safe methods: RFC 9110 section 9.2.1.
_SAFE_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))

# A page of this origin, or a URL that the user typed.  Another origin of the same site
# ("same-site") isn't trusted: it may be a subdomain under other control.
_OWN_SITES = frozenset((b"same-origin", b"none"))


class CrossSite(Middleware):
    """Accepts writes only from pages of this server or of ``cors_origins``."""

    def __init__(self, inner: IResource, *, cors_origins: Sequence[str]) -> None:
        super().__init__(inner)
        self._origins = frozenset(origin.encode() for origin in cors_origins)

    def render(self, request: Request) -> Rendered:
        """Handle the request, or raise :class:`Forbidden`."""
        self.check(request)
        return self.inner.render(request)

    def check(self, request: RequestFacts) -> None:
        """Raise :class:`Forbidden` for a write that another site's page has sent."""
        if request.method in _SAFE_METHODS:
            return
        origins = request.requestHeaders.get_all(b"Origin")
        site = request.requestHeaders.get(b"Sec-Fetch-Site")
        if site in _OWN_SITES or (site is None and not origins):
            return
        if len(origins) != 1 or not self._is_allowed(origins[0], request):
            page = f"origin {quoted(b', '.join(origins))}" if origins else "another site"
            method = quoted(request.method)
            raise Forbidden(f"A page of {page} may not send {method}: it is not in CORS_ORIGINS")

    def _is_allowed(self, origin: bytes, request: RequestFacts) -> bool:
        return origin in self._origins or origin == own_origin(request)
