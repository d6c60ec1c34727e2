"""A ceiling: Granian's own interface, which hands over a request with the least work.

It answers everything alike and does nothing else.
"""

from __future__ import annotations

from typing import Any

__all__ = ["app"]

_HEADERS = [("content-type", "application/json")]


async def app(_: Any, protocol: Any) -> None:
    """Answer as ``/health`` does."""
    protocol.response_bytes(200, _HEADERS, b'{"status":"ok"}')
