"""``twistd x121``: START HERE.

1. :class:`Options` reads the command line and the configuration, and exits if they are invalid.
   It installs the reactor before it imports the application, which needs one.
2. :func:`makeService` creates the log and the server, and connects both to twistd.
3. :mod:`x121.runtime.server` has the components of the server.  Once the reactor runs,
   :mod:`x121.runtime.lifecycle` starts them one after the other.
4. They drain and stop, in reverse order, when :mod:`x121.runtime.signals` receives a signal.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.application.service import MultiService
from twisted.logger import ILogObserver, Logger
from twisted.python import usage

from x121 import logs
from x121.config import APP, ConfigError, Environment, LoadedConfig, ServerConfig
from x121.core.clocks import use_monotonic_clock
from x121.http.channel import Channel
from x121.logs.output import LogOutput
from x121.reactor.lookups import install_resolver
from x121.runtime.pid_file import PidFileError, prepare_pid_file
from x121.runtime.signals import Exit, Signals, freeze_imports, raise_descriptor_limit
from x121.runtime.systemd import Notifier

__all__ = ["Options", "makeService"]

_log = Logger(namespace="x121.tap")


class Options(usage.Options):
    """Options of ``twistd x121``; everything else is configured in the environment.

    ``application`` is the path of the application to serve; it overrides ``X121_APP``.
    """

    optParameters = [  # noqa: RUF012  # Twisted's way to declare options
        ["env-file", None, None, "Read the configuration from this file instead of .env"],
    ]

    def __init__(self, application: str = "") -> None:
        super().__init__()
        self._environ = {**os.environ, **({APP: application} if application else {})}

    def postOptions(self) -> None:
        """Load the application and the configuration, or exit with 1 and an error message.

        Sets ``self["application"]`` and ``self["loaded"]``.
        """
        freeze_imports()
        environment = Environment(self._environ, self["env-file"])
        _choose_reactor(environment)
        from x121.runtime.load import load_from

        try:
            self["application"], self["loaded"] = load_from(environment)
        except ConfigError as error:
            raise _start_error(error, error.log_format) from None
        try:
            if self.parent is not None:
                prepare_pid_file(self.parent, in_background=self._in_background)
        except PidFileError as error:
            raise _start_error(error, self["loaded"].config.server.log_format) from None

    @property
    def log_file(self) -> str:
        """The path of twistd's log file; ``-`` is standard output."""
        return self._twistd.get("logfile") or ("twistd.log" if self._in_background else "-")

    @property
    def _in_background(self) -> bool:
        return not (self._twistd.get("nodaemon") or self._twistd.get("debug"))

    @property
    def _twistd(self) -> dict[str, Any]:
        return self.parent or {}


def _start_error(error: Exception, log_format: str) -> SystemExit:
    # Not UsageError: twistd would print all its options before the message.
    return SystemExit(logs.last_line(f"x121: {error}", log_format))


def _choose_reactor(environment: Environment) -> None:
    """Install the uvloop reactor, unless disabled, uvloop is missing, or another is installed."""
    is_installed = "twisted.internet.reactor" in sys.modules
    is_wanted = environment.text("X121_REACTOR").lower() != "stock"
    if is_wanted and find_spec("uvloop") and not is_installed:
        from x121.reactor.reactor import install

        install()


def _choose_channel(config: ServerConfig) -> type[Channel]:
    """Return the class of HTTP channels: the fast one, unless disabled or httptools is missing."""
    if config.fast_http and find_spec("httptools"):
        from x121.http.fast import FastChannel

        return FastChannel
    return Channel


def makeService(options: Options) -> MultiService:
    """Return the server as a service, which also installs the log observer in twistd."""
    freeze_imports()
    # Not before the reactor is chosen: Klein imports the reactor, and so installs the default.
    from twisted.internet import reactor as _reactor

    from x121.runtime.server import Server

    reactor: Any = _reactor
    use_monotonic_clock(reactor)
    install_resolver(reactor)

    loaded: LoadedConfig = options["loaded"]
    config = loaded.config
    try:
        output = LogOutput.open(options.log_file)
    except OSError as error:
        raise SystemExit(f"x121: cannot log to {options.log_file}: {error.strerror}") from None
    levels, format_name = config.server.log_level, config.server.log_format
    observer = logs.make_observer(levels, format_name, output, reactor, colour=loaded.colour)
    service = _LoggedService(observer)

    make_channel = _choose_channel(config.server)
    server = Server(
        options["application"],
        config,
        reactor=reactor,
        notifier=Notifier(os.environ, clock=reactor),
        process_exit=Exit(before_exit=observer.flush),
        make_channel=make_channel,
    )
    server.setServiceParent(service)

    def before_exit() -> None:
        server.interrupt()
        observer.flush()

    reopen_log = partial(_reopen_log, observer, output.path)
    signals = Signals(reactor, Exit(before_exit=before_exit), reopen_log=reopen_log)
    reactor.callWhenRunning(signals.install)
    _log.info(
        "Running on {reactor} and {channel}, with up to {descriptors} file descriptors",
        reactor=type(reactor).__name__,
        channel=make_channel.__name__,
        descriptors=raise_descriptor_limit(),
    )
    for warning in loaded.warnings:
        _log.warn("{warning}", warning=warning)
    return service


def _reopen_log(observer: logs.LogObserver, path: str | None, signal: str) -> None:
    """Reopen the log file of ``observer`` at ``path``, and log that in it."""
    if path is None:
        _log.info("Received {signal}: the log isn't a file to reopen", signal=signal)
        return
    try:
        observer.reopen()
    except OSError as error:
        text = "Received {signal}, but the log stays in the old file: cannot open {path}: {error}"
        _log.error(text, signal=signal, path=path, error=error.strerror)
    else:
        _log.info("Received {signal}, reopened the log {path}", signal=signal, path=path)


class _LoggedService(MultiService):
    """Service that sets the log observer of its twistd application to ``observer``."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        parent.setComponent(ILogObserver, self._observer)
        logs.bridge_standard_logging()
