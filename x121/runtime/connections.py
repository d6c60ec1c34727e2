"""The connections of the server: the port that takes them, and how they end in time."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from x121.core.clocks import wall_time
from x121.http.channel import Channel
from x121.http.listening import stop_listening
from x121.http.site import Site
from x121.runtime.components import Features
from x121.runtime.lifecycle import Budget, Component, run_stage
from x121.runtime.site import make_site
from x121.ws.manager import WsManager

__all__ = ["Connections", "Report", "drain_connections"]

_log = Logger(namespace="x121.runtime.connections")

# Of the budget, what is kept for the close handshakes of those who waited for replies till then.
_CLOSE_RESERVE = 0.2
_MAX_CLOSE_RESERVE_SECS = 2.0


@dataclass
class Report:
    """Counts of a shutdown, and the ``seconds`` that it took."""

    requests_drained: int = 0
    requests_dropped: int = 0
    websockets_closed: int = 0
    websockets_dropped: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0, or 1 where something had to be dropped."""
        return 1 if self.requests_dropped or self.websockets_dropped else 0


class Connections(Component):
    """The port, and every connection to it.  ``report`` says how they ended."""

    name = "the connections"
    site: Site

    def __init__(
        self, features: Features, *, reactor: Any, make_channel: Callable[[], Channel]
    ) -> None:
        self._features = features
        self._reactor = reactor
        self._make_channel = make_channel
        self._port: IListeningPort | None = None
        self.report = Report()

    async def start(self) -> None:
        """Listen on the configured address and port."""
        state = self._features.state
        self.site = site = make_site(
            self._features.resource,
            state.config,
            clock=self._reactor,
            now=wall_time,
            make_channel=self._make_channel,
        )
        state.lifecycle.connections = lambda: site.connections
        server = state.config.server
        address = await self._address(server.host)
        interface = address.replace(":", r"\:")
        endpoint = serverFromString(
            self._reactor, f"tcp:{server.port}:interface={interface}:backlog=1024"
        )
        self._port = port = await endpoint.listen(site)
        host = f"[{address}]" if ":" in address else address
        _log.info("Server listening on http://{host}:{port}", host=host, port=port.getHost().port)

    async def _address(self, host: str) -> str:
        """Return ``host`` as an address; a name is looked up in the reactor's threads."""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            address: str = await self._reactor.resolve(host)
            return address

    async def drain(self, budget: Budget) -> None:
        """Stop listening, then end every connection."""
        await run_stage("stop listening", partial(self._stop_listening, budget))
        manager = self._features.state.ws_manager
        self.report = await drain_connections(self.site, manager, budget, clock=self._reactor)

    async def _stop_listening(self, budget: Budget) -> None:
        if self._port is not None:
            await budget.run(stop_listening(self._port, clock=self._reactor))


async def drain_connections(
    site: Site, manager: WsManager, budget: Budget, *, clock: IReactorTime
) -> Report:
    """End every connection in time: what is left at the end is cancelled and dropped.

    Requests in flight get their responses, and WebSockets their replies and a close frame.
    """
    report = Report()
    # At the same time: one slow request must not take the time that the others need.
    stages = [
        run_stage("drain requests", partial(_drain_requests, site, budget, report)),
        run_stage("close WebSockets", partial(_close_websockets, manager, budget, report)),
    ]
    await gatherResults(map(ensureDeferred, stages))
    if report.websockets_dropped or site.connections:
        # Those that were dropped end in the reactor's next turn.  Each has its line in the log,
        # and the report is the last one.
        await run_stage("await disconnects", partial(deferLater, clock, 0))
    return report


async def _drain_requests(site: Site, budget: Budget, report: Report) -> None:
    await budget.run(site.drain())
    report.requests_dropped = site.drop()
    report.requests_drained = site.requests_drained


async def _close_websockets(manager: WsManager, budget: Budget, report: Report) -> None:
    left = budget.left
    reserve = min(_MAX_CLOSE_RESERVE_SECS, left * _CLOSE_RESERVE)
    closing = ensureDeferred(manager.shutdown_all(left - reserve))
    try:
        if not await budget.run(closing, reserve):
            await budget.run(ensureDeferred(manager.close()))
    finally:
        manager.drop()
        report.websockets_closed = manager.closed
        report.websockets_dropped = manager.dropped
