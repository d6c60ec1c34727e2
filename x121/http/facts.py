"""The part that both kinds of request share: their facts, and the end of their handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http import parse_qs

from x121.core.json_decoding import JsonLimits
from x121.http.headers import Headers
from x121.http.proxies import forwarded_for

__all__ = ["RequestFacts", "RequestSite"]

_log = Logger(namespace="x121.http")


class RequestSite(Protocol):
    """The part of a site that both kinds of request use."""

    json_limits: JsonLimits
    is_trusted: Callable[[str], bool]


class RequestFacts:
    """The part of a request that middleware and typed endpoints read.

    ``uri`` is the request's target, ``client`` the peer's address, and ``is_through_trusted_proxy``
    tells if that is a trusted proxy, whose forwarding headers count.  ``running`` is the Deferred
    that the handler waits for; it is cancelled when the client disconnects.
    """

    site: RequestSite
    method: bytes
    uri: bytes
    client: Any
    requestHeaders: Headers
    path: bytes
    request_id = "-"
    running: Deferred[Any] | None = None
    is_through_trusted_proxy: bool
    _args: dict[bytes, list[bytes]] | None = None

    def read_body(self, limit: int) -> bytes:
        """Return the body, or its first ``limit`` bytes."""
        raise NotImplementedError

    @property
    def remote(self) -> str:
        """The client's address: the peer's, or the one that a trusted proxy forwards."""
        peer = str(getattr(self.client, "host", "") or "unix")
        if not self.is_through_trusted_proxy:
            return peer
        chain = self.requestHeaders.getRawHeaders(b"X-Forwarded-For") or []
        return forwarded_for(chain, peer, self.site.is_trusted)

    def isSecure(self) -> bool:
        """Return True if the client uses TLS, to this server or to a trusted proxy."""
        if self.is_through_trusted_proxy:
            schemes = self.requestHeaders.get(b"X-Forwarded-Proto")
            if schemes is not None:  # the trusted proxy appends its own
                return schemes.rpartition(b",")[2].strip().lower() == b"https"
        return self._has_tls()

    def _has_tls(self) -> bool:
        """Return True if the connection to this server uses TLS."""
        raise NotImplementedError

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """The arguments of the query: a list of values for each name."""
        if self._args is None:
            # Twisted also splits at semicolons, which are not separators any more:
            # https://url.spec.whatwg.org/#concept-urlencoded-parser
            query = self.uri.partition(b"?")[2].replace(b";", b"%3B")
            self._args = parse_qs(query, keep_blank_values=True) if query else {}
        return self._args

    @args.setter
    def args(self, args: dict[bytes, list[bytes]]) -> None:
        self._args = args

    def cancel(self) -> None:
        """Cancel the Deferred that the handler waits for, if there is one."""
        running, self.running = self.running, None
        if running is None:
            return
        try:
            running.cancel()
        except Exception:
            _log.failure(
                "Unhandled error while a handler of {path} was cancelled",
                path=self.path.decode("latin-1"),
                request_id=self.request_id,
            )
