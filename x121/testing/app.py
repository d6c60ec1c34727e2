"""The whole server in memory, on a clock that only the test advances."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from types import NoneType, TracebackType
from typing import Any, NoReturn, Self, TypeVar

import psycopg2
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from x121 import logs
from x121.application import Application, AppState, Feature, Lifecycle, Stage
from x121.config import Environment, variables
from x121.db.pool import Pool
from x121.http.channel import Channel
from x121.runtime.load import load_application
from x121.runtime.routes import all_routes
from x121.runtime.site import make_resource, make_site
from x121.runtime.state import make_state
from x121.testing.connection import ABSENT, PEER, Connection, Response
from x121.testing.waiting import Waiting, global_reactor
from x121.testing.websocket import WebSocket

__all__ = ["App", "Served"]

T = TypeVar("T")

Served = Application | type[Feature] | Klein | Callable[[AppState], Klein]
"""An application, a feature, a router, or a function that makes a router of the state."""

_START = 1_000_000_000.0


class App:
    """The server as it runs: every wrapper and all of its routes, but no socket::

        with App() as app:
            assert app.request("GET", "/health").json == {"status": "ok"}

    ``served`` is an application, by default the one that ``X121_APP`` names.  A feature or a
    router is served below ``at``, alone but for what comes along.  ``pool`` is the database;
    without one there is none, and whoever asks it gets 503.  ``environ`` are variables of the
    configuration, as in the environment: ``App(MAX_BODY_BYTES="10")``.  ``make_channel`` makes what
    speaks HTTP.

    What features have running in the background, the ``services`` of ``app.state``, a test starts.

    Time stands still: ``app.clock.advance(30)`` lets 30 seconds pass for everything in the
    server.  The wall clock, :meth:`now`, goes with it, until a test sets that.  The pool has the
    reactor's time, because PostgreSQL is real.
    """

    def __init__(
        self,
        served: Served | None = None,
        *,
        at: str = "/test",
        pool: Pool | None = None,
        make_channel: Callable[[], Channel] = Channel,
        **environ: str,
    ) -> None:
        self.clock = Clock()
        self._wall_clock_ahead = _START
        self.application = _application(served, at)
        self.state = _make_state(self.application, self.clock, self.now, pool, environ)
        routes = all_routes(self.application, self.state)
        if isinstance(served, Klein):
            routes.nest(at, served)
        elif not isinstance(served, (Application, type, NoneType)):
            routes.nest(at, served(self.state))
        resource = make_resource(routes, self.application, self.state)
        self.site = make_site(
            resource, self.state.config, clock=self.clock, now=self.now, make_channel=make_channel
        )
        self.state.lifecycle.connections = lambda: self.site.connections
        self.log: list[dict[str, Any]] = []
        """Every line that was logged, at every level, as ``LOG_FORMAT=json`` writes it."""
        self._waiting = Waiting(self.clock)
        self._connections: list[Connection] = []
        self._observer = _Observer(self.log)
        globalLogPublisher.addObserver(self._observer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up for all clients, which cancels what they wait for, and stop logging."""
        self._waiting.close()
        for connection in self._connections:
            connection.disconnect()
        for service in self.state.services:
            if service.running:  # TimerService can't stop what it never began
                service.stopService()
        globalLogPublisher.removeObserver(self._observer)

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch."""
        return self.clock.seconds() + self._wall_clock_ahead

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back; nothing that waits may notice."""
        self._wall_clock_ahead += seconds

    def lines(self, logger: str) -> list[dict[str, Any]]:
        """Return the log's lines of one logger, such as ``x121.access``."""
        return [line for line in self.log if line["logger"] == logger]

    def until(self, condition: Callable[[], T | None], what: str) -> Deferred[T]:
        """Return a Deferred of what ``condition`` returns once that is true.

        Fails with an :class:`AssertionError` that says ``what`` when that takes too long.
        """
        return self._waiting.until(condition, what)

    # --- HTTP ---

    def connect(self, peer: str = PEER) -> Connection:
        """Return a new connection from ``peer``."""
        connection = Connection(self.site, clock=self.clock, peer=peer)
        self._connections.append(connection)
        return connection

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        json: Any = ABSENT,
        peer: str = PEER,
    ) -> Response:
        """Return the answer to a request on a connection of its own; see
        :meth:`Connection.send_request`.

        Raises an :class:`AssertionError`, which says how to wait, if it isn't there at once.
        """
        return self.connect(peer).request(method, path, headers, body, json=json)

    def fetch(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        json: Any = ABSENT,
        peer: str = PEER,
    ) -> Deferred[Response]:
        """Return a Deferred of the answer, for handlers that wait for something real.

        The request is sent now, so that several can be under way.  Fails with an
        :class:`AssertionError` if there is no answer within some seconds.
        """
        connection = self.connect(peer)
        connection.send_request(method, path, headers, body, json=json)

        def response() -> Response | None:
            take = connection.response if connection.closed else connection.next_response
            return take(method)

        return self._waiting.until(response, f"{method} {path}: no answer")

    # --- WebSockets ---

    def websocket(
        self,
        path: str = "/ws",
        headers: Mapping[str, str | None] | None = None,
        *,
        peer: str = PEER,
    ) -> WebSocket:
        """Return a client that is connected, and has taken its welcome.

        ``headers`` are added to the handshake, and taken out of it where they are None.
        Raises :class:`~x121.testing.websocket.HandshakeRejected`, and an :class:`AssertionError` if
        whoever authenticates handshakes waits for something: see :meth:`open_websocket`.
        """
        client = WebSocket(self.connect(peer), self.until, path, headers)
        client.begin()
        client.take_welcome()
        return client

    def open_websocket(
        self,
        path: str = "/ws",
        headers: Mapping[str, str | None] | None = None,
        *,
        peer: str = PEER,
    ) -> Deferred[WebSocket]:
        """Return a Deferred of what :meth:`websocket` returns, once the handshake is answered."""
        client = WebSocket(self.connect(peer), self.until, path, headers)

        def begin(response: Response) -> WebSocket:
            client.begin(response)
            client.take_welcome()
            return client

        answer = self._waiting.until(client.connection.next_response, f"{path}: no handshake")
        return answer.addCallback(begin)


@implementer(ILogObserver)
class _Observer:
    def __init__(self, log: list[dict[str, Any]]) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        self._log.append(json.loads(logs.format_json(event)))


def _application(served: Served | None, at: str) -> Application:
    if served is None:
        return load_application(os.environ)
    if isinstance(served, Application):
        return served
    application = Application("test", title="Test", version="1")
    if isinstance(served, type):
        application.nest(at, served, below="")
    return application


def _make_state(
    application: Application,
    clock: Clock,
    now: Callable[[], float],
    pool: Pool | None,
    environ: Mapping[str, str],
) -> AppState:
    """Return the state of a server that serves."""
    known = {variable.name for variable in variables(application.settings)}
    if unknown := environ.keys() - known:
        raise TypeError(f"the configuration has no variable {', '.join(sorted(unknown))}")
    config = Environment(environ, os.devnull).load(application.settings).config
    return make_state(
        application,
        config,
        pool or _no_pool(clock),
        clock=clock,
        reactor=global_reactor(),
        now=now,
        lifecycle=Lifecycle(Stage.SERVING),
    )


def _no_pool(clock: Clock) -> Pool:
    async def connect() -> NoReturn:
        raise psycopg2.OperationalError("there is no database in memory: App(pool=...)")

    return Pool(connect, clock=clock, min_size=0, max_size=1, acquire_timeout_secs=5.0)
