"""Development server: runs a command, and restarts it whenever its source changes; ``make dev``.

:class:`Supervisor` only starts and stops the server and imports nothing of x121: if that code is
broken, the supervisor keeps running and waits until it is fixed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from watchfiles import Change, watch

__all__ = ["Supervisor", "Watch", "is_env_file", "is_source", "main", "source_folders"]

# Outside the packages: the plugin for twistd, and migrations that are not in a package.
_OTHER_SOURCE = ("twisted", "migrations")
_TESTS = "tests"

# Timeouts of a stop, shorter than in production for clients that keep a request or a WebSocket
# open.  A second signal ends the server at once, if Python still runs.
PATIENCE_SECS = 2.0
IMPATIENCE_SECS = 1.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)

# Files that Python, Twisted and editors keep beside the source: hidden files, backups, Emacs'
# #drafts#, and the 4913 that vim creates to test write permission.
_NOT_SOURCE = re.compile(
    r"__pycache__|.*dropin\.cache.*|\..*|.*~|#.*#|4913|.*\.(pyc|pyo|swp|tmp|bak|orig|rej)"
)


def is_source(path: Path) -> bool:
    """Return True if ``path``, relative to the tree, is part of the server's source."""
    return not any(_NOT_SOURCE.fullmatch(part) for part in path.parts)


def source_folders(folder: Path) -> list[str]:
    """Return the names of the source folders in ``folder``, a product's.

    Those are its packages, except its tests.
    """
    packages = {path.parent.name for path in folder.glob("*/__init__.py")} - {_TESTS}
    return sorted(packages | {name for name in _OTHER_SOURCE if (folder / name).is_dir()})


def is_env_file(path: Path) -> bool:
    """Return True if ``path``, relative to the working directory, is the ``.env`` file."""
    return path == Path(".env")


class Watch:
    """Watches files below ``folder`` in a thread, and calls ``changed`` with those that changed.

    The given ``paths`` are watched with everything in them; without any, only the files in
    ``folder`` itself are. ``wanted`` returns True for files that count. No change after the
    constructor returns is missed. ``failed`` is called with the error if the watch ends by itself.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str] = (),
        *,
        wanted: Callable[[Path], bool],
        changed: Callable[[Collection[Path]], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self._folder = folder
        self._paths = [folder / path for path in paths]
        self._wanted = wanted
        self._changed = changed
        self._failed = failed
        self._stopped = False
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._begun.wait()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._thread.join()

    def is_set(self) -> bool:
        """Return True to stop; watchfiles calls it once it watches, and then 20 times a second."""
        self._begun.set()
        return self._stopped

    def _run(self) -> None:
        try:
            for changes in watch(
                *(self._paths or [self._folder]),
                recursive=bool(self._paths),
                watch_filter=self._is_wanted,
                stop_event=self,
                rust_timeout=0,  # at each timeout it drops changes that have just happened
            ):
                self._changed({self._relative(path) for _, path in changes})
        except Exception as error:
            self._failed(error)
        finally:
            self._begun.set()

    def _relative(self, path: str) -> Path:
        return Path(path).relative_to(self._folder)

    def _is_wanted(self, _: Change, path: str) -> bool:
        return self._wanted(self._relative(path))


class Supervisor:
    """Runs ``command``, and restarts it after each change, until it gets a signal itself.

    The server is in its own process group. Otherwise a Ctrl-C, which the terminal sends to all
    foreground processes, would reach it twice, once from here, and two signals mean an immediate
    exit.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._server: subprocess.Popen[bytes] | None = None
        self._leaving = False
        self._failed = False
        # Signal handlers put to it, too, which SimpleQueue allows.  An empty set means: check if
        # the server has ended or a signal has arrived.
        self._changes: SimpleQueue[Collection[Path]] = SimpleQueue()

    def run(self, folder: Path, sources: Sequence[str]) -> int:
        """Run until a signal arrives; return the exit code: 0 if the last server stopped in order.

        The server runs in ``folder``; its source is in the folders ``sources`` there.
        """
        self._take_signals()
        changed, failed = self._changes.put, self._watch_failed
        watches = [
            Watch(folder, sources, wanted=is_source, changed=changed, failed=failed),
            Watch(folder, wanted=is_env_file, changed=changed, failed=failed),
        ]
        code = 0
        try:
            while not self._leaving:
                server = self._start()
                self._wait_for_change(server)
                code = self._stop(server)
        finally:
            for one in watches:
                one.stop()
        return 0 if code in (0, -signal.SIGTERM) and not self._failed else 1

    # --- events ---------------------------------------------------------------------------

    def _take_signals(self) -> None:
        signal.signal(signal.SIGCHLD, self._look)
        # Inherited by the server: a background process may then write to a terminal with `tostop`.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._leave)

    def _look(self, *_: object) -> None:
        self._changes.put(())

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        if self._leaving and self._server is not None:
            self._server.terminate()
        self._leaving = True
        self._look()

    def _watch_failed(self, error: Exception) -> None:
        _say(f"The source can't be watched: {error}")
        self._failed = self._leaving = True
        self._look()

    # --- the server -----------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        while not self._changes.empty():  # this start includes all changes until now
            self._changes.get()
        self._server = subprocess.Popen(  # noqa: S603  # the user's own command
            self._command, stdin=subprocess.DEVNULL, process_group=0
        )
        return self._server

    def _wait_for_change(self, server: subprocess.Popen[bytes]) -> None:
        """Return when something changed or this process shall end; say so if the server ended."""
        reported = False
        while not self._leaving:
            if not reported and server.poll() is not None:
                reported = True
                _say(f"The server ended, {_how(server.returncode)}: waiting for a change")
            if changes := self._changes.get():
                _say(f"Restarting the server: {_names(changes)} changed")
                return

    def _stop(self, server: subprocess.Popen[bytes]) -> int:
        """Stop the server in order, or kill it after some time; return its exit code."""
        for patience_secs in (PATIENCE_SECS, IMPATIENCE_SECS):
            server.terminate()
            try:
                return server.wait(patience_secs)
            except subprocess.TimeoutExpired:
                _say(f"The server hasn't stopped after {patience_secs:g} s")
        _say("Killing the server; its PostgreSQL, if it runs one, is taken over at the next start")
        os.killpg(server.pid, signal.SIGKILL)
        return server.wait()


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _names(paths: Collection[Path]) -> str:
    first, *others = sorted(map(str, paths))
    return f"{first} and {len(others)} more" if others else first


def _say(text: str) -> None:
    # Standard output is the server's log.
    sys.stderr.write(f"==> {text}\n")
    sys.stderr.flush()


def main(command: Sequence[str]) -> int:
    """Run ``command``, which starts the server, until a signal arrives; return the exit code."""
    if not command:
        raise SystemExit("usage: python -m x121.commands.dev COMMAND [ARGUMENT...], as make dev")
    folder = Path.cwd()
    sources = source_folders(folder)
    if not sources:
        raise SystemExit(f"{folder} has no package to watch: expected the top folder of a product")
    return Supervisor(command).run(folder, sources)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
