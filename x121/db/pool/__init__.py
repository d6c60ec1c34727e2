"""Connection pool, with its sessions and transactions."""

from __future__ import annotations

from x121.db.pool.pool import (
    Pool,
    PoolStats,
    Session,
    make_pool,
)

__all__ = ["Pool", "PoolStats", "Session", "make_pool"]
