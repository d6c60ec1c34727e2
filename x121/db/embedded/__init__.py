"""Embedded PostgreSQL: its cluster, its process and its credentials."""

from __future__ import annotations

from x121.db.embedded.server import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
