"""Who may see the console: the machine itself, or whoever has the token.

Without ``DIAGNOSTICS_TOKEN`` a request has to come from this machine.  Its peer's address alone
doesn't say so: a proxy on the machine brings the whole world's requests, and a page elsewhere whose
name was made to mean 127.0.0.1 (DNS rebinding) its visitors'.  So nothing may speak of a proxy,
unless one that is on this machine and trusted says that its client is here, too; and the client
must have asked for the machine by a name that means no other.

With the token all of that is of no matter, and neither is where the client is.  A browser asks its
user for it (Basic), and gets a cookie, as it sends the password of a page with no WebSocket.
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
    """Lets in who has ``token``; if that is empty, who is on this machine."""

    def __init__(self, token: str, *, clock: Any) -> None:
        self._token = token.encode()
        self._attempts = Attempts(clock=clock)
        # Not the token: what a browser keeps may be read from its disk.
        self._cookie = hmac.new(self._token, b"x121 console", hashlib.sha256).hexdigest().encode()

    def check(self, request: Request) -> None:
        """Return if the request may be served, or the handshake accepted.

        Raises :class:`Unauthorized` where the token is missing or wrong, :class:`TooManyRequests`
        after too many wrong ones, and without a token :class:`Forbidden` for requests from
        elsewhere.
        """
        if not self._token:
            _check_is_local(request)
        elif not self._is_presented(request) or not self._is_right(request):
            raise Unauthorized("The console needs its token", challenge=_CHALLENGE)

    def _is_presented(self, request: Request) -> bool:
        return bool(_presented_token(request) or request.getCookie(COOKIE))

    def _is_right(self, request: Request) -> bool:
        """Whether the token or the cookie is right; a wrong one counts, and is logged once."""
        self._attempts.check(request.remote)
        if self._has_token(request) or self._has_cookie(request):
            self._attempts.succeeded(request.remote)
            return True
        if self._attempts.failed(request.remote, self._digest(request)):
            _log.warn("A login to the console failed: {remote}", remote=request.remote)
        return False

    def _digest(self, request: Request) -> bytes:
        """Return what tells a wrong guess from others, and doesn't say what it was."""
        guess = _presented_token(request) + b"\n" + (request.getCookie(COOKIE) or b"")
        return hashlib.blake2b(guess, digest_size=16, key=self._cookie).digest()

    def keep(self, request: Request) -> None:
        """Have the browser keep that its user has the token, until it is closed."""
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
    """Return the token that came as a Bearer's (RFC 6750) or as a password (RFC 7617)."""
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
        raise Forbidden("The console is for this machine alone, unless DIAGNOSTICS_TOKEN is set")
    if _came_through_proxy(request) and not _proxy_says_loopback(request):
        raise Forbidden(
            "The console is not for clients of a proxy, unless DIAGNOSTICS_TOKEN is set"
        )
    if not _is_local_name(request.getHeader(b"Host") or b""):
        raise Forbidden("The console is at localhost or 127.0.0.1, unless DIAGNOSTICS_TOKEN is set")


def _came_through_proxy(request: Request) -> bool:
    names = (name.lower() for name, _ in request.requestHeaders.getAllRawHeaders())
    return any(name in _SIGNS_OF_A_PROXY or name.startswith(b"x-forwarded-") for name in names)


def _proxy_says_loopback(request: Request) -> bool:
    """Whether a trusted proxy names every client before it, and each is on this machine."""
    headers = request.requestHeaders
    if not request.channel.is_trusted_proxy or headers.hasHeader(b"Forwarded"):  # isn't read here
        return False
    chain = headers.getRawHeaders(b"X-Forwarded-For", [b""])
    nodes = hops([*chain, *headers.getRawHeaders(b"X-Real-IP", [])])
    return all(is_loopback(node_address(node)) for node in nodes)


def _is_local_name(authority: bytes) -> bool:
    """Whether a Host, which is valid, is a name or an address that always means this machine."""
    text = authority.decode("latin-1").lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name == "localhost" or is_loopback(name)
