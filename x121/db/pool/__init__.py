"""The pool of connections, and the sessions and transactions on them."""

from __future__ import annotations

from x121.db.pool.pool import (
    Pool,
    PoolStats,
    Session,
    make_pool,
)

__all__ = ["Pool", "PoolStats", "Session", "make_pool"]
