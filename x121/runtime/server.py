"""The server as a service: the list of its components, and what is said of its start and stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import CannotListenError, DNSLookupError
from twisted.logger import Logger
from twisted.python.failure import Failure

from x121.application import Application, Lifecycle, MissingProviderError, Stage
from x121.config import AppConfig, DbConfig
from x121.db.migrations import MigrationError
from x121.errors import ServiceUnavailable
from x121.http.channel import Channel
from x121.runtime.components import (
    DatabasePool,
    DatabaseServer,
    Features,
    Migrations,
    Threads,
)
from x121.runtime.connections import Connections, Report
from x121.runtime.lifecycle import Budget, Components
from x121.runtime.signals import Exit, freeze_gc
from x121.runtime.systemd import Notifier

__all__ = ["Server"]

_log = Logger(namespace="x121.runtime.server")

# What keeps a server from starting that is no fault in the code: one line says it all.
_EXPECTED = (
    MigrationError,
    psycopg2.Error,
    ServiceUnavailable,
    CannotListenError,
    DNSLookupError,
    MissingProviderError,
)


class Server(Service):
    """The server as a service: starts its components, and drains and stops them.

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
        self._config = config
        self._reactor = reactor
        self._notifier = notifier
        self._process_exit = process_exit
        self._exit_code = 0
        self._lifecycle = Lifecycle()
        progress = notifier.status
        self._database = _make_database(config.db, reactor=reactor, on_progress=progress)
        self._threads = Threads(reactor.getThreadPool(), clock=reactor)
        migrations = Migrations(application, self._database, reactor=reactor, on_progress=progress)
        pool = DatabasePool(
            self._database,
            request_timeout_secs=config.server.request_timeout_secs,
            reactor=reactor,
        )
        features = Features(
            application, config, self._database, pool, self._lifecycle, reactor=reactor
        )
        self._connections = Connections(features, reactor=reactor, make_channel=make_channel)
        self._components = Components(
            [self._database, self._threads, migrations, pool, features, self._connections]
        )

    # --- start ---

    def startService(self) -> None:
        """Begin to start.  A start that fails is logged in one line and stops the reactor."""
        super().startService()
        self._notifier.starting()
        starting = self._components.start()
        starting.addCallback(lambda _: self._started())
        starting.addErrback(self._start_failed)

    def _started(self) -> None:
        freeze_gc()
        self._lifecycle.stage = Stage.SERVING
        self._notifier.ready()

    def _start_failed(self, failure: Failure) -> None:
        if self._lifecycle.stage is Stage.DRAINING:
            return  # stopped while it started
        self._exit_code = 1
        if failure.check(*_EXPECTED, *self._database.expected_errors):
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
        self._lifecycle.stage = Stage.DRAINING
        budget = Budget(self._config.server.shutdown_timeout_secs, self._reactor)
        await self._components.stop(budget)
        self._notifier.close()
        report = dataclasses.replace(self._connections.report, seconds=round(budget.spent, 3))
        self._log_report(report)
        if self._threads.left:
            self._process_exit.at_once(1)  # the reactor would wait for them for ever
        self._process_exit.after_reactor(self._exit_code or report.exit_code)

    def _log_report(self, report: Report) -> None:
        _log.info(
            "Stopped in {seconds} s: {requests_drained} requests drained,"
            " {requests_dropped} dropped; {websockets_closed} WebSockets closed,"
            " {websockets_dropped} dropped",
            **dataclasses.asdict(report),
        )

    def interrupt(self) -> None:
        """Do what can be done before the process ends at once."""
        self._database.interrupt()


def _make_database(
    config: DbConfig, *, reactor: Any, on_progress: Callable[[str], object]
) -> DatabaseServer:
    if config.host:
        return DatabaseServer(config)
    # Not at the top, because a server with DB_HOST has no use for it.
    from x121.runtime.embedded import EmbeddedDatabase

    return EmbeddedDatabase(config, reactor=reactor, on_progress=on_progress)


def _one_line(failure: Failure) -> str:
    return " ".join(failure.getErrorMessage().split()) or type(failure.value).__name__
