"""``make dev``: what starts the server anew, what doesn't, and how all of it ends."""

from __future__ import annotations

import fcntl
import http.client
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any, Self

import psutil  # type: ignore[import-untyped]
import pytest
from watchfiles import watch

from tests.process.client import connect
from tests.process.server import DEADLINE_SECS, HOST, ROOT, Answer, ServerProcess, wait_until
from x121.commands import dev

TWISTD = str(Path(sys.executable).with_name("twistd"))
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "dropin.cache")
TABLE = "CREATE TABLE trials (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY);\n"
# A module may say something: it is in the log once there is one.
NEWS = "\nfrom twisted.logger import Logger\nLogger(namespace='x121.edited').info('Edited')\n"
FAULT = "\ndef (\n"

# Stands for a server in what follows: says what it read, and stops as that says.
COMMAND = """
import pathlib, signal, sys, time

kind = pathlib.Path("studio/kind.py").read_text()
signals = []

def stop(number, frame):
    signals.append(number)
    print("stopping", flush=True)
    if kind != "stubborn" or len(signals) == 2:
        sys.exit(3)

signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "mute" else stop)
print(f"read {kind}", flush=True)
while True:
    time.sleep(0.01)
"""
DEV = ("-m", "x121.commands.dev")
PATIENT = "dev.PATIENCE_SECS = 3600; sys.exit(dev.main(sys.argv[1:]))"
PATIENT_DEV = ("-c", f"import sys; from x121.commands import dev; {PATIENT}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder that whoever PostgreSQL runs as may pass, too."""
    with tempfile.TemporaryDirectory(prefix="x121-test-") as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
def tree(folder: Path) -> Path:
    """Return a copy of the tree, as far as the server needs it."""
    for name in ("x121", "migrations", "twisted"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_SOURCE)
    return folder


def append(path: Path, text: str) -> None:
    """Write ``text`` behind what ``path`` holds."""
    with path.open("a") as file:
        file.write(text)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return those that work somewhere in ``folder``: PostgreSQL's, above all."""
    return [
        process
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and Path(process.info["cwd"] or "/").is_relative_to(folder)
    ]


# --- the server, and its real processes ---------------------------------------------------


class Developed(ServerProcess):
    """The server as ``make dev`` runs it, but into a pipe."""

    def __init__(self, tree: Path) -> None:
        super().__init__(
            tree,
            {"PYTHONPATH": str(tree), "LOG_FORMAT": "auto"},
            program=("-m", "x121.commands.dev", TWISTD),
        )

    def wait_for_start(self, number: int) -> None:
        """Return once the server listens for the ``number``-th time."""
        wait_until(
            lambda: len(self.find("Server listening")) >= number or self.has_ended,
            f"start {number}",
        )
        assert len(self.find("Server listening")) == number

    def migrations(self) -> str:
        """Return what the last start said of them."""
        message: str = self.find("applied now")[-1]["message"]
        return message.removeprefix("Migrations: ").partition(", in ")[0]

    def health(self) -> int:
        """Return the status that the server which runs now answers with."""
        port = self.find("Server listening")[-1]["port"]
        connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE_SECS)
        try:
            connection.request("GET", "/health/ready")
            return Answer.read(connection).status
        finally:
            connection.close()

    def said(self) -> str:
        """Return what was said beside the log, so far."""
        return b"".join(list(self.errors)).decode()


def test_development(tree: Path) -> None:
    """Each change is served soon, on the same database; a fault waits; nothing is left behind."""
    module = tree / "x121/runtime/routes.py"
    folders = (tree / "migrations", tree / "x121/db/migrations/sql")
    count = sum(len(list(folder.glob("*.sql"))) for folder in folders)
    with Developed(tree) as server:
        server.wait_for_start(1)
        assert server.migrations() == f"{count} applied now, 0 before"

        idle = server.connect()
        with connect(server) as client:
            client.hear_welcome()
            (tree / "migrations/9999_create_trials.sql").write_text(TABLE)
            assert client.hear_close()[0] == 1001
            server.wait_for_start(2)
        idle.close()
        assert server.migrations() == f"1 applied now, {count} before"
        report = server.find("Stopped in")[-1]
        assert (report["websockets_closed"], report["websockets_dropped"]) == (1, 0)

        append(module, NEWS)
        server.wait_for_start(3)
        assert server.find("Edited")
        assert server.migrations() == f"0 applied now, {count + 1} before"
        assert server.health() == 200

        good = module.read_text()
        append(module, FAULT)
        wait_until(lambda: "waiting for a change" in server.said(), "the end of a broken server")
        assert "SyntaxError" in server.said()
        module.write_text(good)
        server.wait_for_start(4)

        assert server.find("Running on")[-1]["channel"] == "FastChannel"
        (tree / ".env").write_text("X121_HTTP=stock\n")
        server.wait_for_start(5)
        assert server.find("Running on")[-1]["channel"] == "Channel"

        assert server.stop(signal.SIGINT) == 0
        assert "requests_drained" in server.lines[-1]
        assert server.left_behind == []
        assert len(server.find("Server listening")) == 5, "started anew for no reason"
        assert "hasn't stopped" not in server.said(), "a stop was waited for"
        assert b"\x1b" not in b"".join([*server.raw, *server.errors])


# --- the terminal -------------------------------------------------------------------------


def _begin_on_terminal() -> None:
    """Have the terminal's signals, also where whoever runs the tests ignores them (nohup, &)."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """``make dev`` on a terminal of its own, whose keys are ours."""

    def __init__(self, tree: Path) -> None:
        self.output = b""
        # -o: it is installed, and would else be again, from here, where setup.py is newer.
        command = ["make", "-o", f"{sys.prefix}/.dev", "dev", f"VENV={sys.prefix}"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(tree), "TERM": "xterm"}
        environ |= {"SERVER_HOST": HOST, "SERVER_PORT": "0"}
        shutil.copy(ROOT / "Makefile", tree)
        self._ours, theirs = pty.openpty()
        # Whoever writes to it in the background is stopped, unless it sees to that.
        mode: Any = termios.tcgetattr(theirs)
        mode[3] |= termios.TOSTOP
        termios.tcsetattr(theirs, termios.TCSANOW, mode)
        with warnings.catch_warnings():
            # Python 3.12 on warns of a preexec_fn where there are threads; ours takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._make = subprocess.Popen(
                command,
                cwd=tree,
                env=environ,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=_begin_on_terminal,
            )
        os.close(theirs)
        os.set_blocking(self._ours, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._make.poll() is None:
            self._make.kill()
            self._make.wait()
        os.close(self._ours)
        if kind is not None:
            sys.stderr.write(self.output.decode(errors="replace"))

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._ours, key)

    def wait_for(self, text: bytes) -> None:
        """Return once the terminal has shown ``text``."""
        wait_until(lambda: text in self._read(), f"{text!r} on the terminal")

    def wait(self) -> int:
        """Return how ``make`` ended, once it has and all is read."""
        wait_until(lambda: (self._read(), self._make.poll())[1] is not None, "the end of make")
        self._read()
        code: int = self._make.returncode
        return code

    def _read(self) -> bytes:
        with suppress(OSError):  # there is nothing now, or never will be
            while data := os.read(self._ours, 65536):
                self.output += data
        return self.output


@pytest.mark.parametrize(
    ("key", "code"),
    # As a shell expects of make, which exits with 1 on SIGQUIT: it wants no core dump.
    [(b"\x03", -signal.SIGINT), (b"\x1c", 1)],
    ids=["Ctrl-C", "Ctrl-backslash"],
)
def test_terminal(tree: Path, key: bytes, code: int) -> None:
    """On a terminal the log is in colour, and a key for it stops everything in order, once."""
    with Terminal(tree) as terminal:
        terminal.wait_for(b"Server listening")
        assert b"\x1b[2mx121.runtime.connections:\x1b[0m Server listening" in terminal.output
        (tree / ".env").write_text("SERVER_PORT=0\n")
        terminal.wait_for(b"==> Restarting the server: .env changed")
        terminal.output = b""
        terminal.wait_for(b"Server listening")
        terminal.press(key)
        assert terminal.wait() == code
        assert b"Stopped in" in terminal.output.splitlines()[-1]
        assert b"again" not in terminal.output
    assert processes_in(tree) == []


# --- a command, which stands for the server -----------------------------------------------


class Command:
    """``python -m x121.commands.dev`` in a product with one module, for a command of our own."""

    def __init__(
        self, folder: Path, kind: str = "plain", *, program: Sequence[str] = (sys.executable, *DEV)
    ) -> None:
        (folder / "studio").mkdir()
        (folder / "studio/__init__.py").touch()
        self.kind = folder / "studio/kind.py"
        self.kind.write_text(kind)
        self._lines: Queue[str] = Queue()
        self._process = subprocess.Popen(
            [*program, sys.executable, "-c", COMMAND],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for process in processes_in(self.kind.parents[1]):
            process.kill()
        self._reader.join()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def hear(self, text: str) -> None:
        """Return once a line with ``text`` came, which must be the next one."""
        assert text in self._lines.get(timeout=DEADLINE_SECS)

    @property
    def silent(self) -> bool:
        """Whether it said nothing more until its end."""
        self._reader.join(DEADLINE_SECS)
        return self._lines.empty()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code."""
        return self._process.wait(DEADLINE_SECS)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line)


def test_change_at_the_start(folder: Path) -> None:
    """What is changed right after it was read is read again."""
    with Command(folder, "0") as command:
        for number in range(1, 6):
            command.hear(f"read {number - 1}")
            command.kind.write_text(str(number))
            command.hear("Restarting the server: studio/kind.py changed")
            command.hear("stopping")
        command.hear("read 5")


def test_end_by_itself(folder: Path) -> None:
    """A server that ends is missed at once, and started by the next change."""
    with Command(folder) as command:
        command.hear("read plain")
        (process,) = [one for one in processes_in(folder) if one.pid != command.pid]
        process.terminate()
        command.hear("stopping")
        command.hear("The server ended, with exit code 3: waiting for a change")
        command.kind.write_text("mended")
        command.hear("studio/kind.py changed")
        command.hear("read mended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exit_code(folder: Path, number: signal.Signals) -> None:
    """A signal to us ends the server; if not in order, the exit code tells."""
    with Command(folder, program=(sys.executable, *PATIENT_DEV)) as command:
        command.hear("read plain")
        command.send(number)
        command.hear("stopping")
        assert command.wait() == 1
        assert processes_in(folder) == []


def test_second_signal(folder: Path) -> None:
    """A second signal goes to the server at once, however long we would wait."""
    with Command(folder, "stubborn", program=(sys.executable, *PATIENT_DEV)) as command:
        command.hear("read stubborn")
        command.send(signal.SIGINT)
        command.hear("stopping")
        command.send(signal.SIGINT)
        command.hear("stopping")
        assert command.wait() == 1


def test_impatience(folder: Path) -> None:
    """A server that doesn't stop for a change is asked again, and killed if need be."""
    with Command(folder, "mute") as command:
        command.hear("read mute")
        command.kind.write_text("plain")
        command.hear("Restarting the server")
        command.hear("The server hasn't stopped after 2 s")
        command.hear("The server hasn't stopped after 1 s")
        command.hear("Killing the server")
        command.hear("read plain")
        command.send(signal.SIGTERM)
        command.hear("stopping")
        assert command.wait() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="watching costs a descriptor on Linux")
def test_unwatched(folder: Path) -> None:
    """Where the source can't be watched nothing is started, and the exit code is 1."""
    few = f'ulimit -n 6; exec "{sys.executable}" "$@"'
    with Command(folder, program=("sh", "-c", few, "python", *DEV)) as command:
        command.hear("The source can't be watched: ")
        assert command.wait() == 1
        assert command.silent


def test_source_folders(folder: Path) -> None:
    """The server is made from the packages of a product, but for its tests, and from its plugin."""
    for name in ("studio", "tests", "other"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    for name in ("docs", "twisted"):
        (folder / name).mkdir()
    assert dev.source_folders(folder) == ["other", "studio", "twisted"]


def test_nothing_to_watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no package it says where to start it."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match="expected the top folder of a product"):
        dev.main(["true"])


def test_no_command() -> None:
    """Without a command it says what it needs."""
    with pytest.raises(SystemExit, match="COMMAND"):
        dev.main([])


# --- what counts as a change --------------------------------------------------------------


def test_source() -> None:
    """Python, SQL and static files are source; what editors and Python leave there is not."""
    for name in (
        "x121/api/notes.py",
        "migrations/0004_create_notes.sql",
        "twisted/plugins/x121_plugin.py",
        "x121/builtin/console/page.html",
        "x121/builtin/console/page.css",
        "x121/builtin/docs/bundle.min.js",
        "x121/new_folder",
    ):
        assert dev.is_source(Path(name)), name
    for name in (
        "x121/api/__pycache__",
        "x121/api/__pycache__/notes.cpython-311.pyc",
        "twisted/plugins/dropin.cache",
        "twisted/plugins/tXcaNjgIch-dropin.cache.new",
        "x121/api/.notes.py.swp",
        "x121/api/.#notes.py",
        "x121/api/#notes.py#",
        "x121/api/notes.py~",
        "x121/api/4913",
        "x121/.mypy_cache/3.11/x.json",
        "x121/api/notes.py.orig",
    ):
        assert not dev.is_source(Path(name)), name


class Changes:
    """What a :class:`dev.Watch` tells."""

    def __init__(self) -> None:
        self._told: Queue[Collection[Path]] = Queue()
        self.failures: list[Exception] = []

    def next(self) -> set[str]:
        """Return the next change's paths."""
        return {str(path) for path in self._told.get(timeout=DEADLINE_SECS)}

    @contextmanager
    def of(self, *arguments: Any, **options: Any) -> Iterator[None]:
        """Watch for a while; in the end nothing may be left that wasn't asked for."""
        watch = dev.Watch(
            *arguments, changed=self._told.put, failed=self.failures.append, **options
        )
        try:
            yield
        finally:
            watch.stop()
        assert self._told.empty()


def test_watch_from_the_beginning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is a watch nothing goes unseen, however long it takes to begin."""
    changes = Changes()
    (folder / "x121").mkdir()

    def watch_late(*paths: Path, **options: Any) -> Iterator[Any]:
        time.sleep(0.2)
        yield from watch(*paths, **options)

    monkeypatch.setattr(dev, "watch", watch_late)
    with changes.of(folder, ["x121"], wanted=dev.is_source):
        (folder / "x121/a.py").touch()
        assert changes.next() == {"x121/a.py"}


def test_watch(folder: Path) -> None:
    """A file is seen when it is made, in a new folder, too, replaced by another, and removed."""
    changes = Changes()
    (folder / "x121").mkdir()
    (folder / "tests").mkdir()
    with changes.of(folder, ["x121"], wanted=dev.is_source):
        (folder / "x121/a.py").touch()
        assert changes.next() == {"x121/a.py"}
        for name in ("x121/.a.py.swp", "x121/a.py~", "x121/4913", "tests/test_a.py", ".env"):
            (folder / name).touch()
        (folder / "x121/.new").write_text("x = 1\n")
        (folder / "x121/.new").rename(folder / "x121/a.py")
        assert changes.next() == {"x121/a.py"}
        (folder / "x121/b").mkdir()
        assert changes.next() == {"x121/b"}
        (folder / "x121/b/c.py").touch()
        assert changes.next() == {"x121/b/c.py"}
        (folder / "x121/a.py").unlink()
        assert changes.next() == {"x121/a.py"}
    assert changes.failures == []


def test_env_file(folder: Path) -> None:
    """``.env`` may come and go; nothing else in its folder counts, nor one further down."""
    changes = Changes()
    (folder / "var").mkdir()
    with changes.of(folder, wanted=dev.is_env_file):
        for name in ("var/.env", ".env.swp", ".envrc", "x"):
            (folder / name).touch()
        (folder / ".env").touch()
        assert changes.next() == {".env"}
        (folder / ".env").unlink()
        assert changes.next() == {".env"}


def test_watch_that_fails(folder: Path) -> None:
    """What can't be watched is told, and doesn't keep anybody waiting."""
    changes = Changes()
    with changes.of(folder, ["nothing"], wanted=dev.is_source):
        wait_until(lambda: changes.failures, "the failure")
    assert isinstance(changes.failures[0], FileNotFoundError)
