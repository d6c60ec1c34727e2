"""Complete server in memory, on a clock that only the test advances."""

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
"""An application, a feature, a router, or a function that returns a router for the state."""

_START = 1_000_000_000.0


class App:
    """Server in memory, with all of its middleware and routes, but no socket::

        with App() as app:
            assert app.request("GET", "/health").json == {"status": "ok"}

    ``served`` is an application, by default the one that ``X121_APP`` names. A feature or a router
    is served below ``at``, with only the built-in features beside it. ``pool`` is the database;
    without one, requests that need it get 503. ``environ`` are configuration variables, as in the
    environment: ``App(MAX_BODY_BYTES="10")``. ``make_channel`` creates the HTTP channel.

    The test must start the features' background ``services`` of ``app.state`` itself, if it needs
    them.

    Time stands still: ``app.clock.advance(30)`` lets 30 seconds pass for everything in the server.
    The wall clock, :meth:`now`, advances with it, until a test sets it. The pool uses the reactor's
    time, because PostgreSQL is real.
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
        """All log lines, of every level, in the form of ``LOG_FORMAT=json``."""
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
        """Disconnect all clients, which cancels their requests, and stop logging."""
        self._waiting.close()
        for connection in self._connections:
            connection.disconnect()
        for service in self.state.services:
            if service.running:  # TimerService can't stop before it was started
                service.stopService()
        globalLogPublisher.removeObserver(self._observer)

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch."""
        return self.clock.seconds() + self._wall_clock_ahead

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back, without affecting timers."""
        self._wall_clock_ahead += seconds

    def lines(self, logger: str) -> list[dict[str, Any]]:
        """Return the log lines of one logger, such as ``x121.access``."""
        return [line for line in self.log if line["logger"] == logger]

    def until(self, condition: Callable[[], T | None], what: str) -> Deferred[T]:
        """Return a Deferred that fires with the result of ``condition`` once that is true.

        Fails with an :class:`AssertionError` that contains ``what`` if that takes too long.
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
        """Send a request on a new connection and return the response.

        See :meth:`Connection.send_request`. Raises an :class:`AssertionError`, which explains how
        to wait, if there is no response at once.
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
        """Return a Deferred of the response, for handlers that wait for something real.

        The request is sent now, so that several can run at the same time. Fails with an
        :class:`AssertionError` if there is no response within some seconds.
        """
        connection = self.connect(peer)
        connection.send_request(method, path, headers, body, json=json)

        def response() -> Response | None:
            take = connection.response if connection.closed else connection.next_response
            return take(method)

        return self._waiting.until(response, f"{method} {path}: no response")

    # --- WebSockets ---

    def websocket(
        self,
        path: str = "/ws",
        headers: Mapping[str, str | None] | None = None,
        *,
        peer: str = PEER,
    ) -> WebSocket:
        """Return a client that is connected and has received its welcome.

        ``headers`` are added to the handshake; those that are None are removed from it. Raises
        :class:`~x121.testing.websocket.HandshakeRejected`, and an :class:`AssertionError` if
        ``authenticate`` waits for something: then use :meth:`open_websocket`.
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
        """Return a Deferred of what :meth:`websocket` returns, once the handshake is complete."""
        client = WebSocket(self.connect(peer), self.until, path, headers)

        def begin(response: Response) -> WebSocket:
            client.begin(response)
            client.take_welcome()
            return client

        answer = self._waiting.until(
            client.connection.next_response, f"{path}: no response to the handshake"
        )
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
    """Return the state of a running server."""
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
        raise psycopg2.OperationalError("this App has no database: pass one, App(pool=...)")

    return Pool(connect, clock=clock, min_size=0, max_size=1, acquire_timeout_secs=5.0)
