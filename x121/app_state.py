"""What every handler can reach."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

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
    """The server's stage.  It serves once the database is migrated, until the first signal."""

    stage: Stage = Stage.STARTING


@dataclass(frozen=True)
class AppState:
    """The database pool, the configuration, the connected WebSockets and the stage.

    Made once and shared by all.
    """

    pool: Pool
    config: AppConfig
    ws_manager: WsManager
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
