"""The whole HTTP side in memory: bytes in, bytes out, on a clock that only tests advance."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import psycopg2
from klein import Klein
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from x121 import config, logs
from x121.api.router import Router
from x121.api.routes import routes
from x121.app_state import AppState, Lifecycle, Stage
from x121.db.pool import Pool
from x121.http.channel import Channel
from x121.server import make_resource, make_site, make_ws_manager

__all__ = ["ORIGIN", "App", "AppTestCase", "Connection", "Response", "make_state"]

ORIGIN = "http://localhost:5173"


def make_state(clock: Clock, environ: Mapping[str, str] | None = None) -> AppState:
    """Return a state that serves, whose database can't be reached."""

    async def connect() -> NoReturn:
        raise psycopg2.OperationalError("there is no database in memory")

    loaded = config.load(environ or {}, "/dev/null")
    pool = Pool(connect, clock=clock, min_size=0, max_size=1, acquire_timeout_secs=5.0)
    manager = make_ws_manager(loaded.config.ws, clock=clock)
    return AppState(pool, loaded.config, manager, Lifecycle(Stage.SERVING))


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


class App:
    """The server's site, with ``routes`` besides its own, and what it logged.

    ``make_channel`` makes what speaks HTTP on a connection; ``environ`` are variables of the
    configuration, as in the environment.
    """

    def __init__(
        self,
        feature: Klein | Callable[[App], Klein] | None = None,
        *,
        make_channel: Callable[[], Channel] = Channel,
        **environ: str,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.state = make_state(self.clock, environ)
        if feature is not None and not isinstance(feature, Klein):
            feature = feature(self)

        def make_routes(state: AppState) -> Router:
            router = routes(state)
            return router if feature is None else router.nest("/test", feature)

        resource = make_resource(self.state, make_routes, clock=self.clock)
        self.site = make_site(
            resource, self.state.config, clock=self.clock, make_channel=make_channel
        )
        self.log: list[dict[str, Any]] = []
        self._observer = _Observer(self.log)
        globalLogPublisher.addObserver(self._observer)

    def close(self) -> None:
        """Stop listening to the log; a test's cleanup."""
        globalLogPublisher.removeObserver(self._observer)

    def lines(self, logger: str) -> list[dict[str, Any]]:
        """Return the log's lines of one logger."""
        return [line for line in self.log if line["logger"] == logger]

    def connect(self, peer: str = "192.0.2.7") -> Connection:
        """Return a new connection from ``peer``."""
        return Connection(self, peer)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        peer: str = "192.0.2.7",
    ) -> Response:
        """Send a request on a connection of its own and return the answer, which is there."""
        return self.connect(peer).request(method, path, headers, body)


@implementer(ILogObserver)
class _Observer:
    def __init__(self, log: list[dict[str, Any]]) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        self._log.append(json.loads(logs.format_json(event)))


class AppTestCase(SynchronousTestCase):
    """A test with servers in memory, which are forgotten when it ends.

    ``make_channel`` is what their connections are made with; see ``tests/contract``.
    """

    make_channel: type[Channel] = Channel

    def app(self, feature: Klein | Callable[[App], Klein] | None = None, **environ: str) -> App:
        """Return a server; see :class:`App`."""
        app = App(feature, make_channel=self.make_channel, **environ)
        self.addCleanup(app.close)
        return app


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

    def loseWriteConnection(self) -> None:
        self.half_closed = True

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


class Connection:
    """A client's side of one connection."""

    def __init__(self, app: App, peer: str = "192.0.2.7") -> None:
        address: IAddress = IPv4Address("TCP", peer, 12345)
        # Lenient as TCP is: to resume a connection that is closing does nothing.
        self.transport = _Transport(peerAddress=address, lenient=True)
        self.channel = app.site.buildProtocol(address)
        self.transport.protocol = self.channel
        self.transport.lost = self._lose
        self.transport.clock = app.clock
        self._clock = app.clock
        self._lost = False
        self.channel.makeConnection(self.transport)

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

    def leave(self) -> None:
        """Hang up."""
        self._lose(Failure(ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        if not self._lost:
            self._lost = True
            producer, self.transport.producer = self.transport.producer, None
            if producer is not None:
                producer.stopProducing()
            self.transport.protocol.connectionLost(reason)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Send a request and return the answer, which must be there."""
        lines = {"Host": "example.com", **(headers or {})}
        if body:
            lines.setdefault("Content-Length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(head.encode("latin-1") + b"\r\n" + body)
        return self.response(method)

    def response(self, method: str = "GET") -> Response:
        """Take the next answer, which must be there."""
        stream = io.BytesIO(self.received)
        answer = http.client.HTTPResponse(_Socket(stream), method=method)  # type: ignore[arg-type]
        answer.begin()
        body = answer.read()
        self.transport.clear()
        self.transport.write(stream.read())
        headers: dict[str, str] = {}
        for name, value in answer.getheaders():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        return Response(answer.status, answer.reason, headers, body)


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
