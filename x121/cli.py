"""``x121``: what operators and authors do besides running the server."""

from __future__ import annotations

import getopt
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock, react
from twisted.logger import globalLogBeginner
from twisted.python import usage

from x121 import logs
from x121.clocks import use_monotonic_clock, wall_time
from x121.config import AppConfig, ConfigError, DbConfig, Loaded, load
from x121.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from x121.db.migrations import MigrationError, migrate, read_migrations, status
from x121.log_output import LogOutput
from x121.process import Exit, Signals
from x121.scaffold import Names, ScaffoldError, new_feature

if TYPE_CHECKING:
    from x121.app_state import AppState

__all__ = ["main"]


class _Options(usage.Options):
    """What ``x121`` and its commands share."""

    def opt_version(self) -> None:
        """Print the version of x121 and exit."""
        _say(f"x121 {version('x121')}")
        sys.exit(0)


class _Command(_Options):
    """What all commands share that need the configuration."""

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


class Migrate(_Command):
    """``x121 migrate``: apply migrations, or tell which are."""

    longdesc = "Applies the pending migrations, as the server does when it starts."
    optFlags = [  # noqa: RUF012
        ["status", None, "Print the state of every migration and change nothing"],
        ["dry-run", None, "Print what would be applied and change nothing"],
    ]

    def run(self) -> int:
        """Do it on a reactor of its own; exit code 1 when a migration is wrong or fails."""
        loaded = self.load()
        _log_to_standard_error(loaded)
        react(self._begin, (loaded.config.db,))

    def _begin(self, reactor: Any, db: DbConfig) -> Deferred[None]:
        use_monotonic_clock(reactor)
        embedded = EmbeddedPostgres(db, reactor=reactor) if not db.host else None
        work = ensureDeferred(self._work(reactor, db, embedded))

        def undo() -> Deferred[None]:
            work.cancel()
            return work

        # A signal stops the reactor, which waits until an embedded PostgreSQL has stopped, too.
        reactor.addSystemEventTrigger("before", "shutdown", undo)
        leave = Exit(last_words=embedded.interrupt if embedded else lambda: None)
        reactor.callWhenRunning(Signals(reactor, leave, reopen_log=lambda _: None).install)
        return work

    async def _work(self, reactor: Any, db: DbConfig, embedded: EmbeddedPostgres | None) -> None:
        try:
            if embedded is not None:
                db = await embedded.start()
            await self._migrate(reactor, db)
        except (MigrationError, EmbeddedPostgresError) as error:
            raise SystemExit(f"x121: {error}") from None
        except CancelledError:
            raise SystemExit("x121: interrupted; see x121 migrate --status") from None
        finally:
            if embedded is not None:
                await embedded.stop()

    async def _migrate(self, reactor: Any, db: DbConfig) -> None:
        migrations = read_migrations()
        if not (self["status"] or self["dry-run"]):
            await migrate(db, migrations, reactor=reactor)
            return
        states = await status(db, migrations, reactor=reactor)
        if self["dry-run"] and all(state.state == "applied" for state in states):
            _say("nothing to apply")
        for state in states:
            if self["dry-run"] and state.state == "applied":
                continue
            when = f"{state.applied_at:%Y-%m-%d %H:%M:%S %Z}" if state.applied_at else ""
            _say(f"{state.file_name:40}{state.state:10}{when}".rstrip())
        if any(state.state in ("edited", "missing") for state in states):
            raise SystemExit("x121: the server will not start on this database")


class Routes(_Command):
    """``x121 routes``: print what is served where."""

    longdesc = "Prints every route: its method, path and handler, and what that takes and gives."

    def run(self) -> int:
        """Print the table; no database is asked."""
        # Not before it is wanted: Klein imports a reactor.
        from x121.api.listing import list_routes
        from x121.api.routes import routes
        from x121.middleware import order
        from x121.server import make_resource

        state = _idle_state(self.load().config)
        wrappers = order(make_resource(state, routes, clock=state.ws_manager.clock, now=wall_time))
        _say(f"Every request passes {' > '.join(wrappers)}, and comes to its handler.\n")
        rows = [("METHOD", "PATH", "HANDLER", "TYPES")]
        rows += [(r.method, r.path, r.handler, r.types) for r in list_routes(routes(state))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            _say("  ".join(cells).rstrip())
        return 0


class NewFeature(_Options):
    """``x121 new-feature``: write a feature, in the pattern of another one."""

    synopsis = "[options] NAME"
    longdesc = (
        "Writes the migration, models, repository, routes and tests of a feature such as notes, and"
        " its line in the routes, in the checkout that this is called in. The pattern is a feature"
        " that is there."
    )
    optParameters = [  # noqa: RUF012
        ["one", None, None, "What one of them is called, if not NAME without its last s"],
        ["like", None, "projects", "The feature that is the pattern"],
        ["like-one", None, None, "What one of those is called"],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Take options behind the name, too: Twisted would count them as further names."""
        try:
            found, names = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from None
        super().parseOptions([*(part for pair in found for part in pair if part), "--", *names])

    def parseArgs(self, *names: str) -> None:
        """Take the feature's name, in plural."""
        if len(names) != 1:
            text = f"new-feature needs one name, such as notes, and got {len(names)}"
            raise usage.UsageError(text)
        (self["name"],) = names

    def run(self) -> int:
        """Write the files; exit code 1 when there is something in the way."""
        names = Names.of(self["name"], self["one"])
        pattern = Names.of(self["like"], self["like-one"], option="--like-one")
        paths = new_feature(Path.cwd(), names, pattern)
        if find_spec("ruff"):  # names of another length want other line breaks
            python_files = [path for path in paths if path.endswith(".py")]
            command = [sys.executable, "-m", "ruff", "format", "--quiet", *python_files]
            subprocess.run(command, check=True)  # noqa: S603  # paths that were made here
        for path in paths:
            _say(path)
        return 0


def _idle_state(config: AppConfig) -> AppState:
    """Return a state of which nothing runs."""
    from x121.app_state import AppState
    from x121.db.pool import make_pool
    from x121.server import make_ws_manager

    clock = Clock()
    pool = make_pool(config.db, reactor=clock, statement_timeout_secs=1)
    return AppState(pool, config, make_ws_manager(config.ws, clock=clock, now=wall_time))


_COMMANDS: dict[str, tuple[type[usage.Options], str]] = {
    "check": (Check, "Print the configuration and where each value came from"),
    "migrate": (Migrate, "Apply the pending migrations, or print their state"),
    "routes": (Routes, "Print what is served where"),
    "new-feature": (NewFeature, "Write the files of a feature, in the pattern of another one"),
}


class Options(_Options):
    """``x121``: the commands."""

    subCommands = [[name, None, *about] for name, about in _COMMANDS.items()]  # noqa: RUF012

    def postOptions(self) -> None:
        """Refuse to do nothing."""
        if self.subCommand is None:
            raise usage.UsageError(f"give a command: {', '.join(_COMMANDS)}")


def main(arguments: list[str] | None = None) -> Any:
    """Run a command and exit with its code: 0, or 1 with one message on standard error."""
    options = Options()
    try:
        options.parseOptions(arguments)
        sys.exit(options.subOptions.run())
    except usage.UsageError as error:
        sys.exit(f"x121: {error}\n\n{options}")
    except (ConfigError, ScaffoldError) as error:
        sys.exit(f"x121: {error}")


def _log_to_standard_error(loaded: Loaded) -> None:
    from twisted.internet import reactor as _reactor

    reactor: Any = _reactor

    levels, format_name = loaded.config.server.log_level, loaded.config.server.log_format
    output = LogOutput(sys.stderr.fileno())
    observer = logs.make_observer(levels, format_name, output, reactor, colour=loaded.colour)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    logs.bridge_standard_logging()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
