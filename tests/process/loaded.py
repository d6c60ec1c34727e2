"""The default application, and a route that lists the modules that its process has imported."""

from __future__ import annotations

import sys

from x121.app import application
from x121.application import Feature
from x121.web.router import Router

__all__ = ["application"]


class Loaded(Feature):
    """Tells what is imported."""

    router = Router()

    @router.get("/")
    def show(self) -> list[str]:
        """Return the names of all modules."""
        return sorted(sys.modules)


application.nest("/loaded", Loaded)
