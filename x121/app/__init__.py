"""The application that ``twistd x121`` serves, and an example to learn from.

A team's own package looks like this one: an object, and one line for each feature.
"""

from __future__ import annotations

from importlib.metadata import version

from x121.app.projects.routes import Projects
from x121.application import Application

__all__ = ["application"]

application = Application("x121", version=version("x121"), database="trulience_x121")
application.nest("/projects", Projects)
