"""What every handler can reach."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.application.service import MultiService

from x121.config import AppConfig
from x121.db.pool import Pool
from x121.ws.manager import WsManager

__all__ = ["AppState", "Lifecycle", "Stage"]


class Stage(enum.Enum):
    """Where the server is in its life, as ``/health/ready`` says it."""

    STARTING = "starting"
    SERVING = "ok"
    DRAINING = "draining"


@dataclass
class Lifecycle:
    """The server's stage.  It serves once the database is migrated, until the first signal.

    ``connections`` returns how many HTTP connections are open, or None before it listens.
    """

    stage: Stage = Stage.STARTING
    connections: Callable[[], int | None] = lambda: None


@dataclass(frozen=True)
class AppState:
    """The database pool, the configuration, the connected WebSockets and the stage.

    Made once and shared by all.  ``services`` are what features have running as long as the server
    runs: one that is given to :meth:`~twisted.application.service.IService.setServiceParent` when
    the routes are made is started before the server listens, and stopped before the pool is.
    """

    pool: Pool
    config: AppConfig
    ws_manager: WsManager
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    services: MultiService = field(default_factory=MultiService)
