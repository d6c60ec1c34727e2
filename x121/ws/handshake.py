"""Opening handshake: checks the HTTP request, then upgrades its connection to a WebSocket.

A handshake that is rejected gets an HTTP response, like any other error.  Autobahn would accept
every handshake that passes here.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from x121.core.types import DbId
from x121.errors import BadRequest, Forbidden, ServiceUnavailable, UpgradeRequired
from x121.http.head import options_in
from x121.http.origins import own_origin, quoted
from x121.http.request import Request

if TYPE_CHECKING:
    from x121.ws.protocol import Endpoint, WsFactory, WsProtocol

__all__ = ["Authenticate", "Upgrade", "check_handshake", "no_authentication"]

Authenticate = Callable[[Request], "DbId | Awaitable[DbId | None] | None"]
"""Returns the user id of a handshake, or None for an anonymous client.

Raises ``Unauthorized`` or ``Forbidden`` to reject it.
"""


def no_authentication(request: Request) -> DbId | None:
    """Accept every handshake, without a user id."""
    return None


# --- check --------------------------------------------------------------------------------


def check_handshake(request: Request, origins: Collection[bytes]) -> None:
    """Check a handshake (RFC 6455 section 4.2.1).

    Pages of ``origins`` and of the server's own origin are allowed, and so is a client that sends
    no Origin, because it isn't a browser.

    Raises :class:`UpgradeRequired` for a request that isn't a handshake, or has an older version,
    :class:`BadRequest` for a malformed one, and :class:`Forbidden` for another origin.
    """
    if not _asks_for_websocket(request):
        raise UpgradeRequired("This path speaks WebSocket")
    if _values(request, b"Sec-WebSocket-Version") != [b"13"]:
        raise UpgradeRequired("Sec-WebSocket-Version has to be 13")
    if not _is_key(_values(request, b"Sec-WebSocket-Key")):
        raise BadRequest("Sec-WebSocket-Key has to be 16 bytes in base64")
    if request.getHeader(b"Transfer-Encoding") or request.getHeader(b"Content-Length") not in (
        None,
        b"0",
    ):
        raise BadRequest("A WebSocket handshake has no body")
    sent = _values(request, b"Origin")
    if sent and not (len(sent) == 1 and (sent[0] in origins or sent[0] == own_origin(request))):
        raise Forbidden(f"Origin {quoted(b', '.join(sent))} may not open WebSockets here")


def _asks_for_websocket(request: Request) -> bool:
    return (
        request.clientproto == b"HTTP/1.1"  # RFC 9110 section 7.8: in 1.0 there is no Upgrade
        and request.method == b"GET"
        and b"websocket" in options_in(request.requestHeaders, b"Upgrade")
        and b"upgrade" in options_in(request.requestHeaders, b"Connection")
    )


def _values(request: Request, name: bytes) -> list[bytes]:
    return list(request.requestHeaders.getRawHeaders(name, []))


def _is_key(values: list[bytes]) -> bool:
    try:
        return len(values) == 1 and len(base64.b64decode(values[0], validate=True)) == 16
    except binascii.Error:
        return False


# --- upgrade ------------------------------------------------------------------------------


class Upgrade(Resource):
    """Turns its request, a valid handshake, into a WebSocket connection of ``user_id``.

    Raises :class:`ServiceUnavailable` while the server shuts down.
    """

    isLeaf = True

    def __init__(self, factory: WsFactory, endpoint: Endpoint, user_id: DbId | None) -> None:
        super().__init__()
        self._factory = factory
        self._endpoint = endpoint
        self._user_id = user_id

    def render(self, request: Request) -> int:
        """Hand the connection over to Autobahn, which sends the response."""
        if self._factory.manager.draining:
            raise ServiceUnavailable("The server is shutting down")
        request.upgrade(partial(self._take_over, request))
        return NOT_DONE_YET

    def _take_over(self, request: Request, headers: Headers) -> WsProtocol:
        # Loaded by now; see x121.ws.loading.
        from autobahn.twisted.resource import WebSocketResource

        from x121.ws.protocol import Accepted, WsProtocol

        (key,) = _values(request, b"Sec-WebSocket-Key")
        accepted = Accepted(self._user_id, request.request_id, key, headers)
        protocol = WsProtocol(self._factory, self._endpoint, accepted)
        WebSocketResource(_Given(protocol)).render(_Handshake(request, key))
        return protocol


@dataclass(frozen=True)
class _Given:
    """Factory that gives Autobahn's resource an existing protocol."""

    protocol: WsProtocol

    def buildProtocol(self, _: IAddress) -> WsProtocol:
        return self.protocol


class _Handshake:
    """A request as Autobahn's resource reads it: only the handshake's headers, and no secrets."""

    method = b"GET"
    uri = b"/"

    def __init__(self, request: Request, key: bytes) -> None:
        channel: Any = request.channel
        self.channel = channel  # Autobahn's resource takes its transport
        self.transport = channel.transport
        self.content = io.BytesIO()
        self.requestHeaders = Headers(
            {
                b"Host": [b"localhost"],
                b"Upgrade": [b"websocket"],
                b"Connection": [b"Upgrade"],
                b"Sec-WebSocket-Version": [b"13"],
                b"Sec-WebSocket-Key": [key],
            }
        )
