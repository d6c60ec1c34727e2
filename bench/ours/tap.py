"""``twistd x121-bench``: ``twistd x121`` in everything but its routes."""

from __future__ import annotations

from twisted.application.service import MultiService

from x121 import tap
from x121.tap import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> MultiService:
    """Return x121 as a service, with routes more."""
    # Klein imports the reactor, which the options have chosen by now.
    from bench.ours.routes import routes_with_bench

    return tap.makeService(options, make_routes=routes_with_bench)
