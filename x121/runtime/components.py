"""The components that the server's connections need: the database, and the features on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource

from x121.application import Application, AppState, Lifecycle
from x121.config import AppConfig, DbConfig
from x121.core.clocks import wall_time
from x121.db.migrations import migrate
from x121.db.pool import Pool, make_pool
from x121.db.poolers import warn_of_missing_limits
from x121.runtime.lifecycle import Budget, Component, run_stage
from x121.runtime.routes import all_routes
from x121.runtime.site import make_resource
from x121.runtime.state import make_state

__all__ = [
    "DatabasePool",
    "DatabaseServer",
    "Features",
    "Migrations",
    "Threads",
]

_log = Logger(namespace="x121.runtime.components")

_THREADS_POLL_SECS = 0.02

# A request that is out of time cancels its query.  PostgreSQL's own limit, for queries that this
# does not reach, comes after it: an error of the query's would be the answer instead of the 408.
_STATEMENT_GRACE_SECS = 5.0


class DatabaseServer(Component):
    """The PostgreSQL at ``DB_HOST``, which others start and stop.

    ``config`` says how to connect.
    """

    name = "the database server"
    expected_errors: tuple[type[Exception], ...] = ()
    """Exceptions of :meth:`start` that are no fault in the code: one line says it all."""

    def __init__(self, config: DbConfig) -> None:
        self.config = config

    def interrupt(self) -> None:
        """Do what can be done before the process ends at once."""


class Threads(Component):
    """The reactor's threads: what handlers deferred to them ends before the database does.

    ``left`` counts the threads that still worked when the budget ended.
    """

    name = "the threads"
    is_started = True  # the reactor starts a thread when one is needed

    def __init__(self, pool: ThreadPool, *, clock: IReactorTime) -> None:
        self._pool = pool
        self._clock = clock
        self.left = 0

    async def stop(self, budget: Budget) -> None:
        """Wait until no thread works.  Their work can't be cancelled."""
        await budget.run(ensureDeferred(self._until_idle()))
        self.left = len(self._pool.working)
        if self.left:
            _log.warn("{count} threads still work and are left", count=self.left)

    async def _until_idle(self) -> None:
        while self._pool.working:
            await deferLater(self._clock, _THREADS_POLL_SECS)


class Migrations(Component):
    """The migrations of the framework and of ``application``, applied at every start."""

    name = "the migrations"

    def __init__(
        self,
        application: Application,
        database: DatabaseServer,
        *,
        reactor: Any,
        on_progress: Callable[[str], object],
    ) -> None:
        self._application = application
        self._database = database
        self._reactor = reactor
        self._on_progress = on_progress

    async def start(self) -> None:
        """Apply the migrations that the database doesn't have yet."""
        await migrate(
            self._database.config,
            self._application.read_migrations(),
            reactor=self._reactor,
            on_progress=self._on_progress,
        )


class DatabasePool(Component):
    """The pool of connections to the database, as ``pool``."""

    name = "the database pool"
    pool: Pool

    def __init__(
        self, database: DatabaseServer, *, request_timeout_secs: float, reactor: Any
    ) -> None:
        self._database = database
        self._statement_timeout_secs = request_timeout_secs + _STATEMENT_GRACE_SECS
        self._reactor = reactor

    async def start(self) -> None:
        """Open the connections that are always there."""
        config, limit = self._database.config, self._statement_timeout_secs
        self.pool = make_pool(config, reactor=self._reactor, statement_timeout_secs=limit)
        await self.pool.start()
        _log.info("Database pool started with {min} connections", min=config.pool_min)
        await warn_of_missing_limits(self.pool, config, statement_timeout_secs=limit)

    async def stop(self, budget: Budget) -> None:
        """Close every connection."""
        await budget.run(ensureDeferred(self.pool.stop()))


class Features(Component):
    """The features of ``application``: the state they share, their routes and their services.

    ``state`` and ``resource``, all routes inside all middleware, are there once it has started.
    """

    name = "the features"
    state: AppState
    resource: IResource

    def __init__(
        self,
        application: Application,
        config: AppConfig,
        database: DatabaseServer,
        pool: DatabasePool,
        lifecycle: Lifecycle,
        *,
        reactor: Any,
    ) -> None:
        self._application = application
        self._config = config
        self._database = database
        self._pool = pool
        self._lifecycle = lifecycle
        self._reactor = reactor

    async def start(self) -> None:
        """Build every feature, then start the services, one after the other."""
        self.state = state = make_state(
            self._application,
            dataclasses.replace(self._config, db=self._database.config),
            self._pool.pool,
            clock=self._reactor,
            reactor=self._reactor,
            now=wall_time,
            lifecycle=self._lifecycle,
        )
        routes = all_routes(self._application, state)
        self.resource = make_resource(routes, self._application, state)
        for service in state.services:
            await maybeDeferred(service.startService)
        Service.startService(state.services)  # one that is added from now on starts at once

    async def stop(self, budget: Budget) -> None:
        """Stop the services, all at the same time."""
        stages = [
            run_stage(f"stop {type(service).__name__}", partial(_stop_service, service, budget))
            for service in self.state.services
        ]
        await gatherResults(map(ensureDeferred, stages))


async def _stop_service(service: IService, budget: Budget) -> None:
    await budget.run(maybeDeferred(service.stopService))
