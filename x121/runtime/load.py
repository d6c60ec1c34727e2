"""Finds the application that ``X121_APP`` names, and reads the configuration with its settings.

A product names its application in its ``pyproject.toml``, which is read from the working
directory::

    [tool.x121]
    app = "studio:application"

The environment and ``.env`` take precedence. No other framework module knows which application is
served.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING

from x121.config import APP, Environment, LoadedConfig, parsers

if TYPE_CHECKING:
    from x121.application import Application

__all__ = ["import_application", "load_application", "load_config", "load_from"]

_PYPROJECT = "pyproject.toml"


def load_application(environ: Mapping[str, str], env_file: str | None = None) -> Application:
    """Return the application that ``X121_APP`` names.

    Imports it, which installs a reactor if there is none. Raises :class:`~x121.config.ConfigError`.
    """
    return load_config(environ, env_file)[0]


def load_config(
    environ: Mapping[str, str], env_file: str | None = None
) -> tuple[Application, LoadedConfig]:
    """Return the application and the configuration, including its settings.

    Raises as :func:`load_from` does.
    """
    return load_from(Environment(environ, env_file))


def load_from(environment: Environment) -> tuple[Application, LoadedConfig]:
    """Return what :func:`load_config` returns, from an environment that is read already.

    Raises :class:`~x121.config.ConfigError`, and any exception that the application's modules
    raise.
    """
    defaults, problems = _read_pyproject()
    path = environment.text(APP, defaults)
    try:
        application = import_application(parsers.object_path(path))
    except ValueError as error:
        # One message for all problems; load() itself reports a path that can't be parsed.
        is_known = isinstance(error, _NotFoundError)
        if is_known:
            problems = [*problems, f"{APP}={parsers.printable(path)}: {error}"]
        environment.load(defaults=defaults, problems=problems)
        raise
    defaults = {**defaults, "DB_NAME": application.database}
    return application, environment.load(application.settings, defaults, problems)


def _read_pyproject() -> tuple[dict[str, str], list[str]]:
    """Return the default for ``X121_APP`` in ``pyproject.toml``, and problems with that file."""
    try:
        with Path(_PYPROJECT).open("rb") as file:
            tool = tomllib.load(file).get("tool", {})
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{_PYPROJECT}: cannot be read: {error.strerror}"]
    except ValueError as error:
        return {}, [f"{_PYPROJECT}: {error}"]
    table = tool.get("x121", {}) if isinstance(tool, dict) else {}
    app = table.get("app", "") if isinstance(table, dict) else None
    if not isinstance(app, str):
        example = '[tool.x121] app = "studio:application"'
        return {}, [f"{_PYPROJECT}: expected a string in [tool.x121], such as {example}"]
    return ({APP: app} if app else {}), []


class _NotFoundError(ValueError):
    """Raised when a module doesn't exist, or has no application of the given name."""


def import_application(path: str) -> Application:
    """Return the application at ``path``, such as ``studio:application``.

    Raises :class:`ValueError` if it doesn't exist.
    """
    from x121.application import Application

    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if isinstance(error, PackageNotFoundError):
            raise  # raised for the version of a package that isn't installed
        if module_name != missing and not module_name.startswith(missing + "."):
            raise  # the error is in the application's own imports
        raise _NotFoundError(
            f"there is no module {missing} (is it installed, or in the working directory?)"
        ) from None
    application = getattr(module, name, None)
    if not isinstance(application, Application):
        what = "nothing" if application is None else f"a {type(application).__name__}"
        raise _NotFoundError(f"expected an x121.Application named {name}, found {what}")
    return application
