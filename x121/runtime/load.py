"""Finds the application that ``X121_APP`` names, and reads the configuration with its settings.

Nothing else in the framework knows which application it serves.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from x121.config import APP, Environment, LoadedConfig, parsers

if TYPE_CHECKING:
    from x121.application import Application

__all__ = ["import_application", "load_application", "load_config"]


def load_application(environ: Mapping[str, str], env_file: str | None = None) -> Application:
    """Return the application that ``X121_APP`` names.

    Imports it, and with it a reactor if there is none.  Raises
    :class:`~x121.config.ConfigError`.
    """
    return load_config(environ, env_file)[0]


def load_config(
    environ: Mapping[str, str], env_file: str | None = None
) -> tuple[Application, LoadedConfig]:
    """Return the application and the configuration, its settings included.

    Raises :class:`~x121.config.ConfigError`, and whatever the application's modules raise.
    """
    environment = Environment(environ, env_file)
    path = environment.text(APP)
    try:
        application = import_application(parsers.object_path(path))
    except ValueError as error:
        # One message for all that is wrong; load() itself finds a path that can't be parsed.
        is_known = isinstance(error, _NotFoundError)
        environment.load(problems=[f"{APP}={parsers.printable(path)}: {error}"] if is_known else ())
        raise
    defaults = {"DB_NAME": application.database}
    return application, environment.load(application.settings, defaults)


class _NotFoundError(ValueError):
    """There is no such module, or no application in it."""


def import_application(path: str) -> Application:
    """Return the application at ``path``, such as ``studio:application``.

    Raises :class:`ValueError` where there is none.
    """
    from x121.application import Application

    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(missing + "."):
            raise  # the application's own import is wrong
        raise _NotFoundError(
            f"there is no module {missing} (is it installed, or in the working directory?)"
        ) from None
    application = getattr(module, name, None)
    if not isinstance(application, Application):
        what = "nothing" if application is None else f"a {type(application).__name__}"
        raise _NotFoundError(f"expected an x121.Application named {name}, found {what}")
    return application
