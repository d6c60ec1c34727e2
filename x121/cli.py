"""``x121 check`` and ``x121 migrate``: what operators do besides running the server."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.python import usage

from x121.config import ConfigError, Loaded, load

__all__ = ["main"]


class _Command(usage.Options):
    """What all commands share: the configuration."""

    optParameters = [  # noqa: RUF012  # Twisted's way to declare options
        ["env-file", None, None, "Read the configuration from this file instead of .env"],
    ]

    def load(self) -> Loaded:
        """Return the configuration; raises :class:`ConfigError`."""
        return load(os.environ, self["env-file"])

    def run(self) -> int:
        """Do what the command is for and return the exit code."""
        raise NotImplementedError


class Check(_Command):
    """``x121 check``: print the configuration in force."""

    longdesc = "Prints every variable, its value (secrets hidden) and where that came from."

    def run(self) -> int:
        """Print the table; exit code 1 when something is wrong."""
        loaded = self.load()
        for setting in loaded.settings:
            _say(f"{setting.name:28}{setting.shown or '(empty)':32}{setting.source}")
        for warning in loaded.warnings:
            _say(f"warning: {warning}")
        return 0


class Options(usage.Options):
    """``x121``: the commands."""

    subCommands = [  # noqa: RUF012
        ["check", None, Check, "Print the configuration and where each value came from"],
    ]

    def postOptions(self) -> None:
        """Refuse to do nothing."""
        if self.subCommand is None:
            raise usage.UsageError("give a command: check or migrate")


def main(arguments: list[str] | None = None) -> Any:
    """Run a command and exit with its code: 0, or 1 with one message on standard error."""
    options = Options()
    try:
        options.parseOptions(arguments)
        sys.exit(options.subOptions.run())
    except usage.UsageError as error:
        sys.exit(f"x121: {error}\n\n{options}")
    except ConfigError as error:
        sys.exit(f"x121: {error}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
