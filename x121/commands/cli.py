"""Program ``x121``: finds the command, runs it, and exits with its code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.python import usage

from x121.commands.base import BaseOptions
from x121.commands.check import Check
from x121.commands.feature import feature_commands
from x121.commands.migrate import Migrate
from x121.commands.names import GenerationError
from x121.commands.new import New
from x121.commands.new_feature import NewFeature
from x121.commands.routes import Routes
from x121.config import ConfigError

__all__ = ["main"]

_COMMANDS: dict[str, tuple[type[usage.Options], str]] = {
    "check": (Check, "Print the configuration and the source of each value"),
    "migrate": (Migrate, "Apply the pending migrations, or print their state"),
    "routes": (Routes, "Print all routes"),
    "new": (New, "Write the files of a new product"),
    "new-feature": (NewFeature, "Write the files of a feature"),
}


class Options(BaseOptions):
    """Options of ``x121``: the commands."""

    def __init__(self) -> None:
        super().__init__()
        self.subCommands: list[Any] = [[name, None, *about] for name, about in _COMMANDS.items()]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Add the commands of the application's features, unless the command is a built-in one."""
        arguments = sys.argv[1:] if options is None else options
        if not _COMMANDS.keys() & set(arguments):
            self.subCommands += [[name, None, *about] for name, about in _of_features().items()]
        super().parseOptions(arguments)

    def postOptions(self) -> None:
        """Raise an error if no command is given."""
        if self.subCommand is None:
            names = ", ".join(name for name, *_ in self.subCommands)
            raise usage.UsageError(f"give a command: {names}")


def _of_features() -> dict[str, tuple[type[usage.Options], str]]:
    from x121.runtime.load import load_application

    return feature_commands(load_application(os.environ))


def main(arguments: list[str] | None = None) -> Any:
    """Run a command and exit with its code: 0, or 1 with one message on standard error."""
    sys.path.insert(0, str(Path.cwd()))  # as twistd does: a product needn't be installed
    options = Options()
    try:
        options.parseOptions(arguments)
        sys.exit(options.subOptions.run())
    except usage.UsageError as error:
        sys.exit(f"x121: {error}\n\n{options}")
    except (ConfigError, GenerationError) as error:
        sys.exit(f"x121: {error}")
