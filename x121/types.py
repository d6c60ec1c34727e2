"""Small types that every room may use."""

from __future__ import annotations

from typing import NewType

__all__ = ["DbId"]

DbId = NewType("DbId", int)
"""The primary key of a row: a PostgreSQL ``BIGINT`` identity."""
