"""The server as a process: its signals, its exit code, its sockets and every line it logs.

Everything here blocks, within :data:`DEADLINE_SECS`; nothing waits for a fixed time.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil  # type: ignore[import-untyped]

from x121.config import DbConfig, variables

__all__ = [
    "DEADLINE_SECS",
    "HOST",
    "ROOT",
    "SPEED",
    "TRIALS",
    "Answer",
    "Line",
    "ServerProcess",
    "database_environ",
    "wait_until",
]

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
DEADLINE_SECS = 30.0
"""How long anything may take before a test gives up on it; nothing takes long when all is well."""

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
WITH_TRIALS = ("-m", "tests.process.start")
TRIALS = "tests.process.trials:application"
_POLL_SECS = 0.01

SPEED = ("X121_REACTOR", "X121_HTTP", "X121_WEBSOCKET")
"""The variables that say whether a part is the fast one; every server has the tests' own."""

Line = dict[str, Any]
"""One line of the log, decoded."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once ``condition`` is true; fail with ``what`` at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {DEADLINE_SECS:g} s")
        time.sleep(_POLL_SECS)


def database_environ(config: DbConfig) -> dict[str, str]:
    """Return the variables that make a server use the database of ``config``."""
    return {
        "DB_HOST": config.host,
        "DB_PORT": str(config.port),
        "DB_NAME": config.name,
        "DB_USER": config.user,
        "DB_PASSWORD": config.password,
    }


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @classmethod
    def read(cls, connection: http.client.HTTPConnection) -> Answer:
        """Return the response to what was sent on ``connection``."""
        response = connection.getresponse()
        return cls(response.status, response.headers, response.read())

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class ServerProcess:
    """A server that runs in ``folder``, which is its working directory.

    Its environment is ``environ`` and no more than a program needs.  ``trials`` are the
    routes of :mod:`tests.process.trials`, which only tests serve.  ``program`` is what Python
    runs instead of twistd, whose command is ``name``.  ``output`` is where it writes its log,
    instead of to this object: ``SERVER_PORT`` must then say where it listens.  Leaving the context
    ends it, in any case, and whatever it left behind there or in ``DB_DATA_DIR``.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        trials: bool = False,
        program: Sequence[str] = TWISTD,
        twistd: Sequence[str] = ("-n", "--pidfile="),
        arguments: Sequence[str] = (),
        output: int = subprocess.PIPE,
        name: str = "x121",
    ) -> None:
        self.folder = folder
        self._known_port = int(environ.get("SERVER_PORT", 0))
        self._places = (folder, Path(environ.get("DB_DATA_DIR", folder)))
        self.raw: list[bytes] = []
        self.errors: list[bytes] = []
        self._connections: list[http.client.HTTPConnection] = []
        self._process = subprocess.Popen(
            [sys.executable, *(WITH_TRIALS if trials else program), *twistd, name, *arguments],
            cwd=folder,
            env=_environment({"X121_APP": TRIALS, **environ} if trials else environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
        )
        self._readers = [
            threading.Thread(target=_read, args=(pipe, lines), daemon=True)
            for pipe, lines in (
                (self._process.stdout, self.raw),
                (self._process.stderr, self.errors),
            )
            if pipe is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()
        self._process.kill()
        self._process.wait()
        for process in self.left_behind:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for reader in self._readers:
            reader.join(DEADLINE_SECS)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        if kind is not None:
            sys.stderr.write(b"".join([*self.raw, *self.errors]).decode(errors="replace"))

    # --- the process ----------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._process.poll() is not None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once the process is over and its log is read."""
        wait_until(lambda: self.has_ended, "the end of the process")
        code: int = self._process.returncode
        for reader in self._readers:
            reader.join(DEADLINE_SECS)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to end, and return the exit code."""
        self.send_signal(number)
        return self.wait()

    @property
    def left_behind(self) -> list[psutil.Process]:
        """The other processes that work where this one does: PostgreSQL's, above all."""
        return [
            process
            for process in psutil.process_iter(["cwd", "status"])
            if process.pid not in (self.pid, os.getpid())
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and any(Path(process.info["cwd"] or "/").is_relative_to(p) for p in self._places)
        ]

    # --- the log --------------------------------------------------------------------------

    @property
    def lines(self) -> list[Line]:
        """The log as far as it is read; fails where a line is no JSON object."""
        lines = [json.loads(line) for line in list(self.raw)]
        assert all(type(line) is dict for line in lines)
        return lines

    def find(self, text: str = "", **fields: object) -> list[Line]:
        """Return the lines so far whose message contains ``text`` and that have ``fields``."""
        return [
            line
            for line in self.lines
            if text in line.get("message", "") and fields.items() <= line.items()
        ]

    def wait_for(self, text: str = "", **fields: object) -> Line:
        """Return the first line that :meth:`find` finds, once there is one."""
        wait_until(
            lambda: self.find(text, **fields) or self.has_ended, f"log line {text!r} {fields}"
        )
        if not self.find(text, **fields):
            self.wait()
        found = self.find(text, **fields)
        assert found, f"the server ended without a log line {text!r} {fields}"
        return found[0]

    # --- the network ----------------------------------------------------------------------

    @cached_property
    def port(self) -> int:
        """Where the server listens, once it does."""
        if self._process.stdout is None:
            wait_until(lambda: _is_open(self._known_port) or self.has_ended, "an open port")
            return self._known_port
        port: int = self.wait_for("Server listening")["port"]
        return port

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection, which is closed with the server at the latest."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=DEADLINE_SECS)
        self._connections.append(connection)
        connection.connect()
        return connection

    def send(self, path: str) -> http.client.HTTPConnection:
        """Return a connection on which a GET was sent, to :meth:`Answer.read` from."""
        connection = self.connect()
        connection.request("GET", path)
        return connection

    def get(self, path: str) -> Answer:
        """Return the answer to a GET on a connection of its own."""
        connection = self.send(path)
        try:
            return Answer.read(connection)
        finally:
            connection.close()

    @property
    def refuses_connections(self) -> bool:
        """Whether nobody listens on the port any more."""
        try:
            socket.create_connection((HOST, self.port), timeout=DEADLINE_SECS).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            return False
        return False


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    ours = {variable.name for variable in variables()}
    needed = ("PATH", "HOME", "TMPDIR", "LANG", "COVERAGE_PROCESS_START")
    base = {name: os.environ[name] for name in (*needed, *SPEED) if name in os.environ}
    base |= {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json"}
    base |= {"SERVER_HOST": HOST, "SERVER_PORT": "0"}
    assert not ours & set(needed)
    return base | dict(environ)


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=DEADLINE_SECS).close()
    except OSError:
        return False
    return True


def _read(pipe: IO[bytes], lines: list[bytes]) -> None:
    lines.extend(iter(pipe.readline, b""))
