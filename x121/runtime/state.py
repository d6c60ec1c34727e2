"""Creates the state that features are built with: for the server, for tests and for commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.interfaces import IReactorTime

from x121.application import Application, AppState, Lifecycle
from x121.config import AppConfig, DbConfig, WsConfig
from x121.core.clocks import wall_time
from x121.db.pool import Pool, make_pool
from x121.ws.heartbeat import Heartbeat
from x121.ws.manager import WsManager

__all__ = ["make_state", "make_ws_manager", "running_state"]


def make_ws_manager(config: WsConfig, *, clock: Any, now: Callable[[], float]) -> WsManager:
    """Return the manager of all WebSockets, with the configured heartbeat."""
    heartbeat = Heartbeat(
        interval_secs=config.heartbeat_interval_secs,
        pong_timeout_secs=config.pong_timeout_secs,
        clock=clock,
    )
    return WsManager(heartbeat, clock=clock, now=now)


def make_state(
    application: Application,
    config: AppConfig,
    pool: Pool,
    *,
    clock: IReactorTime,
    now: Callable[[], float],
    reactor: Any,
    lifecycle: Lifecycle,
) -> AppState:
    """Return a state with the shared objects of ``application``; builds no features."""
    return AppState(
        pool,
        config,
        make_ws_manager(config.ws, clock=clock, now=now),
        clock=clock,
        now=now,
        reactor=reactor,
        lifecycle=lifecycle,
        providers=application.providers,
    )


@asynccontextmanager
async def running_state(
    application: Application, config: AppConfig, db: DbConfig, *, reactor: Any
) -> AsyncIterator[AppState]:
    """Yield a state with an open pool and built features, without serving anything."""
    pool = make_pool(db, reactor=reactor, statement_timeout_secs=None)
    await pool.start()
    try:
        state = make_state(
            application,
            config,
            pool,
            clock=reactor,
            now=wall_time,
            reactor=reactor,
            lifecycle=Lifecycle(),
        )
        application.build(state)
        yield state
    finally:
        await pool.stop()
