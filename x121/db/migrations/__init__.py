"""Migrations: SQL files that are applied once each, in order, when the server starts."""

from __future__ import annotations

from x121.db.migrations.runner import (
    Migration,
    MigrationError,
    State,
    Status,
    find_last,
    framework_migrations,
    migrate,
    read_migrations,
    revert,
    status,
)

__all__ = [
    "Migration",
    "MigrationError",
    "State",
    "Status",
    "find_last",
    "framework_migrations",
    "migrate",
    "read_migrations",
    "revert",
    "status",
]
