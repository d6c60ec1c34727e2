"""Connection to a server in memory: bytes in, bytes out."""

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
"""Address that requests come from (RFC 5737: reserved for documentation)."""

ABSENT: Any = object()
"""Marks a missing JSON body, because None is a valid one, ``null``."""

_NO_ANSWER = """there is no response yet, because the handler waits
  for something real, such as the database:  response = await app.fetch(...)
  for time to pass:  connection = app.connect(); connection.send_request(...);
                     app.clock.advance(seconds);
                     response = connection.response()"""


@dataclass(frozen=True)
class Response:
    """Response: ``headers`` have lower-case names; several values are joined by ``, ``."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Parsed JSON body."""
        return json.loads(self.body)


class Connection:
    """Client's side of one connection."""

    def __init__(self, site: Site, *, clock: Clock, peer: str = PEER) -> None:
        address: IAddress = IPv4Address("TCP", peer, 12345)
        # Lenient as TCP is: resuming a connection that is closing has no effect.
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
        """True if the server has closed its side."""
        return self.transport.disconnecting or self.transport.half_closed

    @property
    def received(self) -> bytes:
        """Bytes that the server has sent and the test has not taken yet."""
        received: bytes = self.transport.value()
        return received

    def send(self, data: bytes) -> None:
        """Send ``data``, unless the server has closed the connection."""
        if not self._lost:
            self.transport.protocol.dataReceived(data)
        self._clock.advance(0)

    def disconnect(self) -> None:
        """Close the connection."""
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
        """Send a request and return the response, which must be there at once."""
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
        """Send a request; :meth:`response` returns the response.

        The body is ``body``, or ``json`` encoded as JSON.
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
        """Take the next response, to a request of ``method``.

        Raises an :class:`AssertionError`, which explains how to wait, if there is none.
        """
        response = self.next_response(method)
        if response is not None:
            return response
        if self.closed:
            raise AssertionError(f"the server closed the connection after {self.received!r}")
        raise AssertionError(_NO_ANSWER)

    def next_response(self, method: str = "GET") -> Response | None:
        """Take the next response; return None if it isn't complete yet."""
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
    """TCP transport in memory; ``lost`` is called when either side has closed it."""

    lost: Callable[[Failure], object]
    protocol: Any
    clock: Clock
    aborted = False
    half_closed = False
    full = False
    """True if the client doesn't read, so that written data stays in the buffer."""

    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None: ...
    def getTcpKeepAlive(self) -> bool:
        return True

    def unregisterProducer(self) -> None:
        self.producer = None  # also without a producer, as with TCP

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
        """Notify the protocol one turn later, as TCP does, and its producer just before."""
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.lost, Failure(reason))


class _Socket:
    """Socket interface that http.client needs, over bytes that have already arrived."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, _: str) -> io.BufferedIOBase:
        return _Unclosed(self._stream)


class _Unclosed(io.BufferedReader):
    """Reads no further than asked, and leaves the underlying stream open when closed."""

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
