"""Options and output that the commands of ``x121`` share."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock
from twisted.logger import globalLogBeginner
from twisted.python import usage

from x121 import logs
from x121.config import AppConfig, LoadedConfig
from x121.core.clocks import wall_time
from x121.logs.output import LogOutput

if TYPE_CHECKING:
    from x121.application import Application, AppState

__all__ = ["BaseOptions", "Command", "idle_state", "log_to_standard_error", "say"]


class BaseOptions(usage.Options):
    """Options of ``x121`` and of each command."""

    def opt_version(self) -> None:
        """Print the version of x121 and exit."""
        say(f"x121 {version('x121')}")
        sys.exit(0)


class Command(BaseOptions):
    """Base class of the commands that need the configuration."""

    optParameters = [  # noqa: RUF012  # Twisted's way to declare options
        ["env-file", None, None, "Read the configuration from this file instead of .env"],
    ]

    def load(self) -> tuple[Application, LoadedConfig]:
        """Return the application and the configuration.

        Raises :class:`~x121.config.ConfigError`.
        """
        # Imported only when needed: an application imports a reactor.
        from x121.runtime.load import load_config

        return load_config(os.environ, self["env-file"])

    def run(self) -> int:
        """Run the command and return the exit code."""
        raise NotImplementedError


def idle_state(application: Application, config: AppConfig) -> AppState:
    """Return a state without a running database or services, to build routes from."""
    from twisted.internet import reactor

    from x121.application import Lifecycle
    from x121.db.pool import make_pool
    from x121.runtime.state import make_state

    clock = Clock()
    pool = make_pool(config.db, reactor=clock, statement_timeout_secs=1)
    return make_state(
        application,
        config,
        pool,
        clock=clock,
        now=wall_time,
        reactor=reactor,
        lifecycle=Lifecycle(),
    )


def log_to_standard_error(loaded: LoadedConfig) -> None:
    """Log as the server does, but to standard error."""
    from twisted.internet import reactor as _reactor

    reactor: Any = _reactor

    levels, format_name = loaded.config.server.log_level, loaded.config.server.log_format
    output = LogOutput(sys.stderr.fileno())
    observer = logs.make_observer(levels, format_name, output, reactor, colour=loaded.colour)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    logs.bridge_standard_logging()


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")
