"""Access control of the console: requests from this machine, or with the token.

Without ``DIAGNOSTICS_TOKEN`` a request has to come from this machine.  The peer's address alone
doesn't prove that: a proxy on this machine forwards requests from anywhere, and a foreign page
whose name resolves to 127.0.0.1 (DNS rebinding) makes its visitors' browsers send them.  So no
header may indicate a proxy, unless a trusted one on this machine states that its client is on this
machine, too; and the Host must be a name that always means this machine.

With the token, none of that is checked, and clients may be anywhere.  A browser asks its user for
the token (Basic), and gets a cookie, because it doesn't send the password with WebSockets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

from twisted.logger import Logger

from x121.builtin.console.attempts import Attempts
from x121.errors import Forbidden, Unauthorized
from x121.http.proxies import hops, is_loopback, node_address
from x121.http.request import Request

__all__ = ["COOKIE", "Access"]

COOKIE = b"x121_console"

_CHALLENGE = 'Basic realm="The console of x121", charset="UTF-8"'
_SIGNS_OF_A_PROXY = frozenset((b"forwarded", b"via", b"x-real-ip"))


_log = Logger(namespace="x121.builtin.console.access")


class Access:
    """Accepts requests with ``token``, or if that is empty, requests from this machine."""

    def __init__(self, token: str, *, clock: Any) -> None:
        self._token = token.encode()
        self._attempts = Attempts(clock=clock)
        # Not the token itself: a browser's cookies may be read from its disk.
        self._cookie = hmac.new(self._token, b"x121 console", hashlib.sha256).hexdigest().encode()

    def check(self, request: Request) -> None:
        """Check that the request may be served, or the handshake accepted.

        Raises :class:`Unauthorized` for a missing or wrong token, :class:`TooManyRequests` after
        too many wrong ones, and :class:`Forbidden` if no token is configured and the request
        doesn't come from this machine.
        """
        if not self._token:
            _check_is_local(request)
        elif not self._is_presented(request) or not self._is_right(request):
            raise Unauthorized(
                "The console requires its token (DIAGNOSTICS_TOKEN)", challenge=_CHALLENGE
            )

    def _is_presented(self, request: Request) -> bool:
        return bool(_presented_token(request) or request.getCookie(COOKIE))

    def _is_right(self, request: Request) -> bool:
        """Return True if the token or the cookie is right; count a wrong one, and log it once."""
        self._attempts.check(request.remote)
        if self._has_token(request) or self._has_cookie(request):
            self._attempts.succeeded(request.remote)
            return True
        if self._attempts.failed(request.remote, self._digest(request)):
            _log.warn("Wrong token for the console from {remote}", remote=request.remote)
        return False

    def _digest(self, request: Request) -> bytes:
        """Return a keyed hash of a guess, which distinguishes guesses without revealing them."""
        guess = _presented_token(request) + b"\n" + (request.getCookie(COOKIE) or b"")
        return hashlib.blake2b(guess, digest_size=16, key=self._cookie).digest()

    def keep(self, request: Request) -> None:
        """Set a cookie that stands for the token, until the browser is closed."""
        if self._token and not self._has_cookie(request):
            request.addCookie(
                COOKIE,
                self._cookie,
                path=b"/",
                httpOnly=True,
                secure=request.isSecure(),
                sameSite=b"strict",
            )

    def _has_token(self, request: Request) -> bool:
        return hmac.compare_digest(_presented_token(request), self._token)

    def _has_cookie(self, request: Request) -> bool:
        return hmac.compare_digest(request.getCookie(COOKIE) or b"", self._cookie)


def _presented_token(request: Request) -> bytes:
    """Return the token sent as a Bearer token (RFC 6750) or as a password (RFC 7617)."""
    scheme, _, credentials = (request.getHeader(b"Authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _check_is_local(request: Request) -> None:
    if not is_loopback(str(getattr(request.client, "host", ""))):
        raise Forbidden(
            "The console accepts only requests from this machine, unless DIAGNOSTICS_TOKEN is set"
        )
    if _came_through_proxy(request) and not _proxy_says_loopback(request):
        raise Forbidden(
            "The console accepts no requests through a proxy, unless DIAGNOSTICS_TOKEN is set"
        )
    if not _is_local_name(request.getHeader(b"Host") or b""):
        raise Forbidden("The console is at localhost or 127.0.0.1, unless DIAGNOSTICS_TOKEN is set")


def _came_through_proxy(request: Request) -> bool:
    names = (name.lower() for name, _ in request.requestHeaders.getAllRawHeaders())
    return any(name in _SIGNS_OF_A_PROXY or name.startswith(b"x-forwarded-") for name in names)


def _proxy_says_loopback(request: Request) -> bool:
    """Return True if a trusted proxy names every client before it, and each is on this machine."""
    headers = request.requestHeaders
    # Forwarded isn't parsed here.
    if not request.channel.is_trusted_proxy or headers.hasHeader(b"Forwarded"):
        return False
    chain = headers.getRawHeaders(b"X-Forwarded-For", [b""])
    nodes = hops([*chain, *headers.getRawHeaders(b"X-Real-IP", [])])
    return all(is_loopback(node_address(node)) for node in nodes)


def _is_local_name(authority: bytes) -> bool:
    """Return True if a valid Host is a name or an address that always means this machine."""
    text = authority.decode("latin-1").lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name == "localhost" or is_loopback(name)
