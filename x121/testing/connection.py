"""One connection to a server in memory: bytes in, bytes out."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from x121.http.site import Site

__all__ = ["ABSENT", "PEER", "Connection", "Response"]

PEER = "192.0.2.7"
"""Whom requests come from (RFC 5737: an address of nobody)."""

ABSENT: Any = object()
"""Stands for a JSON body that isn't there: None is one, ``null``."""

_NO_ANSWER = """there is no answer yet, because the handler waits
  for something real, such as the database:  response = await app.fetch(...)
  for time to pass:  connection = app.connect(); connection.send_request(...);
                     app.clock.advance(seconds);
                     response = connection.response()"""


@dataclass(frozen=True)
class Response:
    """An answer: ``headers`` have lower-case names, several values joined by ``, ``."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Connection:
    """A client's side of one connection."""

    def __init__(self, site: Site, *, clock: Clock, peer: str = PEER) -> None:
        address: IAddress = IPv4Address("TCP", peer, 12345)
        # Lenient as TCP is: to resume a connection that is closing does nothing.
        self.transport = _Transport(peerAddress=address, lenient=True)
        channel: Any = site.buildProtocol(address)
        self.channel = channel
        self.transport.protocol = channel
        self.transport.lost = self._lose
        self.transport.clock = clock
        self._clock = clock
        self._lost = False
        channel.makeConnection(self.transport)

    # --- bytes ---

    @property
    def closed(self) -> bool:
        """Whether the server has closed its side."""
        return self.transport.disconnecting or self.transport.half_closed

    @property
    def received(self) -> bytes:
        """Everything the server has sent and nobody has taken yet."""
        received: bytes = self.transport.value()
        return received

    def send(self, data: bytes) -> None:
        """Send ``data``, unless the server has hung up."""
        if not self._lost:
            self.transport.protocol.dataReceived(data)
        self._clock.advance(0)

    def disconnect(self) -> None:
        """Hang up."""
        self._lose(Failure(ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        if not self._lost:
            self._lost = True
            producer, self.transport.producer = self.transport.producer, None
            if producer is not None:
                producer.stopProducing()
            self.transport.protocol.connectionLost(reason)

    # --- requests ---

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        json: Any = ABSENT,
    ) -> Response:
        """Send a request and return the answer, which must be there."""
        self.send_request(method, path, headers, body, json=json)
        return self.response(method)

    def send_request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        json: Any = ABSENT,
    ) -> None:
        """Send a request, whose answer :meth:`response` gives.

        The body is ``body``, or what ``json`` is in JSON.
        """
        lines = {"Host": "example.com"}
        if json is not ABSENT:
            lines["Content-Type"] = "application/json"
            body = _encoded(json)
        lines.update(headers or {})
        if body:
            lines.setdefault("Content-Length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(head.encode("latin-1") + b"\r\n" + body)

    def response(self, method: str = "GET") -> Response:
        """Take the next answer, to a request of ``method``.

        Raises an :class:`AssertionError`, which says how to wait, if there is none.
        """
        response = self.next_response(method)
        if response is not None:
            return response
        if self.closed:
            raise AssertionError(f"the server has hung up after {self.received!r}")
        raise AssertionError(_NO_ANSWER)

    def next_response(self, method: str = "GET") -> Response | None:
        """Take the next answer, or return None if it isn't there, or not whole."""
        stream = io.BytesIO(self.received)
        answer = http.client.HTTPResponse(_Socket(stream), method=method)  # type: ignore[arg-type]
        try:
            answer.begin()
            ends_with_connection = answer.length is None and not answer.chunked
            body = answer.read()
        except http.client.HTTPException:
            return None
        if ends_with_connection and not self.closed:
            return None
        self.transport.clear()
        self.transport.write(stream.read())
        headers: dict[str, str] = {}
        for name, value in answer.getheaders():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        return Response(answer.status, answer.reason, headers, body)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@implementer(ITCPTransport)
class _Transport(StringTransport):
    """A TCP transport in memory; ``lost`` is called when either side has ended it."""

    lost: Callable[[Failure], object]
    protocol: Any
    clock: Clock
    aborted = False
    half_closed = False
    full = False
    """Whether the client takes nothing, so that what is written stays in the buffer."""

    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None: ...
    def getTcpKeepAlive(self) -> bool:
        return True

    def unregisterProducer(self) -> None:
        self.producer = None  # also where there is none, as with TCP

    def loseWriteConnection(self) -> None:
        self.half_closed = True
        if not self.full:
            self.clock.callLater(0, self._tell_half_closed)

    def _tell_half_closed(self) -> None:
        protocol: Any = IHalfCloseableProtocol(self.protocol, None)
        if protocol is not None and not self.disconnecting:
            protocol.writeConnectionLost()

    def loseConnection(self) -> None:
        if not self.full:
            self._lose_soon(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self._lose_soon(ConnectionAborted())

    def _lose_soon(self, reason: Exception) -> None:
        """Like TCP: the protocol hears of it a turn later, and its producer just before."""
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.lost, Failure(reason))


class _Socket:
    """What http.client asks of a socket, over bytes that are there already."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, _: str) -> io.BufferedIOBase:
        return _Unclosed(self._stream)


class _Unclosed(io.BufferedReader):
    """Reads no further than asked, and leaves what is behind it alone when closed."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, 1)
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        return self._stream.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._stream.readline(size)

    def readinto(self, buffer: Any, /) -> int:
        return self._stream.readinto(buffer)

    def close(self) -> None: ...
