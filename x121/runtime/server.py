"""Builds every object once, in order, and hands them on."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, DNSLookupError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from x121.application import Application, AppState, Lifecycle, MissingProviderError, Stage
from x121.config import AppConfig
from x121.core.clocks import wall_time
from x121.core.json_decoding import JsonLimits
from x121.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from x121.db.migrations import MigrationError, migrate
from x121.db.pool import make_pool
from x121.db.poolers import warn_of_missing_limits
from x121.errors import ServiceUnavailable
from x121.http.channel import Channel
from x121.http.site import Site
from x121.middleware import build_stack
from x121.runtime.routes import all_routes
from x121.runtime.shutdown import Report, Running, Shutdown
from x121.runtime.signals import Exit, freeze_gc
from x121.runtime.state import make_state
from x121.runtime.systemd import Notifier
from x121.web.dispatch import RoutingResource
from x121.web.router import Router

__all__ = ["Server", "make_resource", "make_site"]

_log = Logger(namespace="x121.runtime.server")

# A request that is out of time cancels its query.  PostgreSQL's own limit, for queries that this
# does not reach, comes after it: an error of the query's would be the answer instead of the 408.
_STATEMENT_GRACE_SECS = 5.0

# What keeps a server from starting that is no fault in the code: one line says it all.
_EXPECTED = (
    EmbeddedPostgresError,
    MigrationError,
    psycopg2.Error,
    ServiceUnavailable,
    CannotListenError,
    DNSLookupError,
    MissingProviderError,
)


def make_resource(routes: Router, application: Application, state: AppState) -> IResource:
    """Return the tree of resources: every middleware around ``routes``."""
    resource: IResource = RoutingResource(routes)
    for make in reversed(application.middleware):
        resource = make(resource, state)
    return build_stack(
        resource,
        state.config.server,
        clock=state.clock,
        now=state.now,
        request_headers=application.cors_request_headers,
        response_headers=application.cors_response_headers,
    )


def make_site(
    resource: IResource,
    config: AppConfig,
    *,
    clock: Any,
    now: Callable[[], float],
    make_channel: Callable[[], Channel] = Channel,
) -> Site:
    """Return the site that serves ``resource`` within the configured limits."""
    server = config.server
    return Site(
        resource,
        clock=clock,
        now=now,
        max_body_bytes=server.max_body_bytes,
        json_limits=JsonLimits(server.max_json_bytes, server.max_json_values),
        header_timeout_secs=server.header_timeout_secs,
        request_timeout_secs=server.request_timeout_secs,
        keepalive_timeout_secs=server.keepalive_timeout_secs,
        min_send_bytes_per_sec=server.min_send_bytes_per_sec,
        trusted_proxies=server.trusted_proxies,
        make_channel=make_channel,
    )


class Server(Service):
    """The server as a service: boots when it is started, drains when it is stopped.

    ``application`` is served.  ``process_exit`` is told the exit code when all is stopped,
    ``make_channel`` makes what speaks HTTP.
    """

    name = "x121"

    def __init__(
        self,
        application: Application,
        config: AppConfig,
        *,
        reactor: Any,
        notifier: Notifier,
        process_exit: Exit,
        make_channel: Callable[[], Channel] = Channel,
    ) -> None:
        self._application = application
        self._config = config
        self._reactor = reactor
        self._notifier = notifier
        self._process_exit = process_exit
        self._make_channel = make_channel
        self._exit_code = 0
        self._running = Running(Lifecycle(), reactor.getThreadPool())

    # --- start ---

    def startService(self) -> None:
        """Begin to boot.  A boot that fails is logged in one line and stops the reactor."""
        super().startService()
        self._running.booting = ensureDeferred(self._boot())
        self._running.booting.addErrback(self._boot_failed)

    async def _boot(self) -> None:
        self._notifier.starting()
        config = await self._start_database(self._config)
        limit = config.server.request_timeout_secs + _STATEMENT_GRACE_SECS
        self._running.pool = pool = make_pool(
            config.db, reactor=self._reactor, statement_timeout_secs=limit
        )
        await pool.start()
        _log.info("Database pool started with {min} connections", min=config.db.pool_min)
        await warn_of_missing_limits(pool, config.db, statement_timeout_secs=limit)
        state = make_state(
            self._application,
            config,
            pool,
            clock=self._reactor,
            reactor=self._reactor,
            now=wall_time,
            lifecycle=self._running.lifecycle,
        )
        self._running.ws_manager = state.ws_manager
        await self._listen(state)
        freeze_gc()
        self._running.lifecycle.stage = Stage.SERVING
        self._notifier.ready()

    async def _start_database(self, config: AppConfig) -> AppConfig:
        """Return the configuration with the database that runs, which is migrated."""
        if not config.db.host:
            self._running.embedded = EmbeddedPostgres(config.db, reactor=self._reactor)
            _log.info("Starting the embedded PostgreSQL in {path}", path=str(config.db.data_dir))
            self._notifier.status("Starting the embedded PostgreSQL")
            config = dataclasses.replace(config, db=await self._running.embedded.start())
        await migrate(
            config.db,
            self._application.read_migrations(),
            reactor=self._reactor,
            on_progress=self._notifier.status,
        )
        return config

    async def _listen(self, state: AppState) -> None:
        server = state.config.server
        resource = make_resource(all_routes(self._application, state), self._application, state)
        self._running.site = site = make_site(
            resource,
            state.config,
            clock=self._reactor,
            now=wall_time,
            make_channel=self._make_channel,
        )
        state.lifecycle.connections = lambda: site.connections
        self._running.services = state.services
        await self._start_services(state.services)
        address = await self._address(server.host)
        interface = address.replace(":", r"\:")
        endpoint = serverFromString(
            self._reactor, f"tcp:{server.port}:interface={interface}:backlog=1024"
        )
        self._running.port = port = await endpoint.listen(site)
        host = f"[{address}]" if ":" in address else address
        _log.info("Server listening on http://{host}:{port}", host=host, port=port.getHost().port)

    async def _start_services(self, services: MultiService) -> None:
        """Start what features have running, one after the other, and wait for each."""
        for service in services:
            await maybeDeferred(service.startService)
        Service.startService(services)  # one that is added from now on starts at once

    async def _address(self, host: str) -> str:
        """Return ``host`` as an address; a name is looked up in the reactor's threads."""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            address: str = await self._reactor.resolve(host)
            return address

    def _boot_failed(self, failure: Failure) -> None:
        if self._running.lifecycle.stage is Stage.DRAINING:
            return  # stopped while it booted
        self._exit_code = 1
        if failure.check(*_EXPECTED):
            _log.error("Start failed: {reason}", reason=_one_line(failure))
        else:
            _log.failure("Start failed: {reason}", failure, reason=_one_line(failure))
        self._reactor.callWhenRunning(self._reactor.stop)

    # --- stop ---

    def stopService(self) -> Deferred[None]:
        """Return a Deferred that fires when everything is stopped, in its order."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self._notifier.stopping()
        shutdown = Shutdown(
            self._running,
            budget_secs=self._config.server.shutdown_timeout_secs,
            clock=self._reactor,
        )
        report = await shutdown.run()
        self._notifier.close()
        self._report(report)
        if shutdown.threads_left:
            self._process_exit.at_once(1)
        self._process_exit.after_reactor(self._exit_code or report.exit_code)

    def _report(self, report: Report) -> None:
        _log.info(
            "Stopped in {seconds} s: {requests_drained} requests drained,"
            " {requests_dropped} dropped; {websockets_closed} WebSockets closed,"
            " {websockets_dropped} dropped",
            **dataclasses.asdict(report),
        )

    def interrupt(self) -> None:
        """Do what can be done before the process ends at once."""
        if self._running.embedded is not None:
            self._running.embedded.interrupt()


def _one_line(failure: Failure) -> str:
    return " ".join(failure.getErrorMessage().split()) or type(failure.value).__name__
