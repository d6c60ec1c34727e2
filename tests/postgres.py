"""A PostgreSQL for tests: real, on TCP with a password, and easily stopped or frozen.

Everything here blocks; the reactor does not turn meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
from psycopg2 import sql

from x121 import config as configuration
from x121.config import DbConfig
from x121.db._binaries import Account, choose_account, find_binaries, let_in

__all__ = ["Postgres"]

_USER = "x121"
_PASSWORD = "correct horse battery staple"
_SUPERUSER = "postgres"
_START_TIMEOUT_SECS = 60.0
# Nothing here outlives the tests, so nothing need reach a disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
}


class Postgres:
    """One server.  ``create`` and ``start`` it; whoever does must ``stop`` it."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        self._binaries = find_binaries()
        self._folder = Path()
        self._account: Account | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{number}" for number in itertools.count(1))

    # --- life ---------------------------------------------------------------------------

    def create(self, folder: Path) -> None:
        """Make a new cluster in ``folder``, which must be empty, and choose its port."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve() / "data"
        self._folder.mkdir(mode=0o700)
        password_file = folder / "password"
        password_file.write_text(_PASSWORD)
        self._account = choose_account(self._folder)
        if self._account is not None:
            let_in(self._account, binaries=self._binaries, folders=[self._folder])
            for path in (self._folder, password_file):
                os.chown(path, self._account.uid, self._account.gid)
        arguments = ["--pgdata", str(self._folder), "--username", _SUPERUSER, "--no-sync"]
        arguments += ["--auth=scram-sha-256", f"--pwfile={password_file.resolve()}"]
        arguments += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        arguments += ["--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            [self._binaries / "initdb", *arguments], capture_output=True, **self._as_account()
        )
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stderr.decode(errors='replace')}")
        self.port = _free_port()

    def start(self) -> None:
        """Start the server, on the same port as before, and wait until it answers."""
        arguments = ["-D", str(self._folder), "-p", str(self.port)]
        for name, value in _SETTINGS.items():
            arguments += ["-c", f"{name}={value}"]
        with (self._folder.parent / "log").open("ab") as log, warnings.catch_warnings():
            # Python 3.12 on warns of a preexec_fn where there are threads; ours takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._server = subprocess.Popen(
                [self._binaries / "postgres", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for pytest, which then stops us in order
                preexec_fn=_end_with_parent,
                **self._as_account(),
            )
        self._wait_until_it_answers()
        self._create_role()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, which may be paused: ``fast`` is orderly, ``immediate`` a crash."""
        if self._server is None:
            return
        if self._server.poll() is None:
            if mode == "immediate":
                self._server.send_signal(signal.SIGQUIT)
            else:
                self._server.send_signal(signal.SIGINT)
            self.resume()
            try:
                self._server.wait(_START_TIMEOUT_SECS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
                raise
        self._server = None

    def pause(self) -> None:
        """Freeze every process of the server: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        self._signal_all(signal.SIGCONT)

    # --- use ----------------------------------------------------------------------------

    def create_database(self) -> str:
        """Return the name of a new database, which the role of :meth:`config` owns."""
        name = next(self._names)
        self.query(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(_USER)
            )
        )
        return name

    def config(self, database: str) -> DbConfig:
        """Return what connects to ``database`` as its owner, who is no superuser."""
        environ = {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_NAME": database,
            "DB_USER": _USER,
            "DB_PASSWORD": _PASSWORD,
        }
        return configuration.load(environ, os.devnull).config.db

    def query(
        self, statement: str | sql.Composable, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Return the rows of ``statement``, run as superuser in a connection of its own."""
        connection = self._connect(database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def active_queries(self, database: str) -> list[str]:
        """Return the statements that PostgreSQL is working on in ``database``."""
        rows = self.query(
            sql.SQL(
                "SELECT query FROM pg_stat_activity WHERE datname = {} AND state = 'active'"
            ).format(sql.Literal(database))
        )
        return [row[0] for row in rows]

    # --- inside -------------------------------------------------------------------------

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=_SUPERUSER,
            password=_PASSWORD,
            connect_timeout=10,
        )

    def _create_role(self) -> None:
        if not self.query(f"SELECT 1 FROM pg_roles WHERE rolname = '{_USER}'"):
            self.query(f"CREATE ROLE {_USER} LOGIN PASSWORD '{_PASSWORD}'")

    def _wait_until_it_answers(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + _START_TIMEOUT_SECS
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg2.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder.parent / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {log[-2000:]}") from error
                time.sleep(0.02)

    def _as_account(self) -> dict[str, Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: dict[str, Any] = {"cwd": "/", "env": {**kept, "LC_ALL": "C"}}
        if self._account is not None:
            options |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return options

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server is not None
        # The postmaster first: while it stands still, no child can be added.
        self._server.send_signal(number)
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._server.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """Have the kernel stop the server if pytest is killed (prctl(2), Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)
