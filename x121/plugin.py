"""Plugins of products: a ``twisted/plugins/NAME_plugin.py`` so that ``twistd NAME`` serves one.

twistd imports the plugins of all products, whichever it then runs, so this imports little::

    studio = service_maker("studio", "studio:application", "Studio")
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from zope.interface import implementer

__all__ = ["service_maker"]

_TAP = "x121.tap"


def service_maker(name: str, application: str, description: str) -> IServiceMaker:
    """Return the plugin ``twistd NAME``.

    It serves the application at a path such as ``studio:application``, whatever ``X121_APP`` says.
    """
    return _ServiceMaker(name, application, description)


@implementer(IPlugin, IServiceMaker)
class _ServiceMaker:
    def __init__(self, name: str, application: str, description: str) -> None:
        self.tapname = name
        self.description = description
        self._application = application

    @property
    def options(self) -> Any:
        """What makes the options of the command line."""
        return partial(import_module(_TAP).Options, self._application)

    def makeService(self, options: Any) -> Any:
        """Return the server."""
        return import_module(_TAP).makeService(options)
