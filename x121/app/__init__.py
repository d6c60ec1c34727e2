"""The application that ``twistd x121`` serves by default, and an example.

A team's package looks like this one: an object, and one line for each feature.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from x121.app.projects.routes import Projects
from x121.application import Application

__all__ = ["application"]

# A checkout has the migrations at its top, a wheel has them in the package.
_CHECKOUT = Path(__file__).parents[2] / "migrations"

application = Application(
    "x121",
    version=version("x121"),
    database="trulience_x121",
    migrations=_CHECKOUT if _CHECKOUT.is_dir() else "x121.app.migrations",
)
# Project management: projects are listed, created, changed, deleted and followed live.
application.nest("/projects", Projects)
