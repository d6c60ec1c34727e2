"""Embedded PostgreSQL: a real server, for development and for the tests of a fresh clone.

One process owns it: the one that holds the lock beside the data folder. The owner starts the
server, or takes it over if its owner was killed; restarts it if it dies; and stops it when it stops
itself. Other processes, such as ``x121 migrate --status`` while the server runs, use it without
starting or stopping it. When the owner stops, they lose their connections.

The server listens only on a UNIX socket, in a folder that is private to the user it runs as. It
asks for a password, which is kept beside the data.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2 import sql
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from x121.config import DbConfig
from x121.db.connection import Connection, connect
from x121.db.embedded.binaries import (
    EmbeddedPostgresError,
    choose_account,
    find_binaries,
    grant_access,
    major_version,
)
from x121.db.embedded.cluster import PORT, Cluster, Postmaster
from x121.db.embedded.credentials import scram_verifier
from x121.db.embedded.programs import Programs
from x121.db.embedded.supervisor import Supervisor
from x121.db.threads import in_thread

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

T = TypeVar("T")

_log = Logger(namespace="x121.db.embedded")

_SUPERUSER = "postgres"
_POLL_SECS = 0.02
_FAST_STOP_SECS = 60.0
_REQUIRE_AUTH = "scram-sha-256,none"  # "": the cluster doesn't ask for a password yet
_MAKING = 0x78313231  # the key of an advisory lock in the superuser's database
_OLD_CHILDREN = "pre-existing shared memory block"


class _OldChildrenError(EmbeddedPostgresError):
    """Raised while children of a killed server still run; they notice, and end soon."""


class EmbeddedPostgres:
    """Runs PostgreSQL on ``config.data_dir``.

    ``reactor`` provides time, threads and readers (IReactorTime, IReactorThreads, IReactorFDSet).
    """

    def __init__(self, config: DbConfig, *, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._cluster: Cluster | None = None
        self._programs: Programs | None = None
        self._socket_folder = ""
        self._may_end = False
        self._supervisor = Supervisor(
            is_running=self._is_running, restart=self._restart, clock=reactor
        )

    # --- for the server ---------------------------------------------------------------------

    async def start(self) -> DbConfig:
        """Return the configuration that connects to the running server; role and database exist.

        The first start creates the data folder. Waits up to ``connect_timeout_secs`` for the server
        to accept connections. Raises :class:`EmbeddedPostgresError`, whose text has the end of
        PostgreSQL's own log, and leaves nothing running.
        """
        began = self._reactor.seconds()
        self._may_end = False
        try:
            cluster = self._cluster = await self._in_thread(Cluster, self._config.data_dir)
            postmaster, password = await self._obtain(cluster)
        except Exception as error:  # CancelledError too
            with suppress(EmbeddedPostgresError):
                await self.stop()
            if isinstance(error, (OSError, psycopg2.Error)):
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL in {self._config.data_dir}: {str(error).strip()}"
                ) from error
            raise
        self._socket_folder = postmaster.socket_folder
        _log.info(
            "PostgreSQL accepts connections in {path} after {secs:.2f} s",
            path=postmaster.socket_folder,
            secs=self._reactor.seconds() - began,
            pid=postmaster.pid,
            owned=cluster.owned,
        )
        if cluster.owned:
            self._supervisor.start()
        return dataclasses.replace(
            self._config,
            host=postmaster.socket_folder,
            port=postmaster.port,
            password=password,
            require_auth=_REQUIRE_AUTH,
        )

    def stop_watching(self) -> None:
        """Stop restarting the server when it ends."""
        self._may_end = True
        self._supervisor.cancel()

    async def stop(self) -> None:
        """Stop the server and wait until it has stopped, if this process owns it.

        The server closes its connections and writes everything to disk. Cancelling ends only the
        wait.
        """
        self._may_end = True
        await self._supervisor.stop()
        cluster = self._cluster
        if cluster is None or not cluster.owned:
            return
        was_running = await self._in_thread(cluster.running) is not None
        self.interrupt()
        began = self._reactor.seconds()
        while await self._in_thread(cluster.running) is not None:
            await self._sleep()
            if self._reactor.seconds() - began > _FAST_STOP_SECS:
                _log.warn("PostgreSQL did not stop in time; its next start will recover its data")
                self._signal(signal.SIGQUIT)
                began = self._reactor.seconds()
        await self._in_thread(cluster.remove_drafts)
        await self._in_thread(cluster.remove_socket_folder, self._socket_folder)
        self._socket_folder = ""
        cluster.unlock()
        if was_running:
            _log.info("PostgreSQL has stopped")

    def interrupt(self) -> None:
        """Tell the server to stop, if this process owns it, and return at once.

        For use in a signal handler. It is the "fast" shutdown that :meth:`stop` waits for
        (https://www.postgresql.org/docs/current/server-shutdown.html).
        """
        self._may_end = True
        if self._programs is not None:
            self._programs.terminate()
        self._signal(signal.SIGINT)

    # --- start ------------------------------------------------------------------------------

    async def _obtain(self, cluster: Cluster) -> tuple[Postmaster, str]:
        """Return a running server, our own or another process's, and its password."""
        deadline = self._reactor.seconds() + self._config.connect_timeout_secs
        told = False
        reason = ""
        while True:
            owned = await self._in_thread(cluster.lock)
            postmaster = await self._in_thread(cluster.running)
            if owned and postmaster is None:
                try:
                    return await self._launch(cluster)
                except _OldChildrenError:
                    if self._reactor.seconds() > deadline:
                        raise
                    await self._sleep()
                    continue
            if not told:
                told = True
                whose = "a killed process left" if owned else "another process runs"
                _log.info("{whose} a PostgreSQL in {path}", whose=whose, path=str(cluster.path))
            if postmaster is not None and postmaster.ready:
                try:
                    return postmaster, await self._make_database(cluster, postmaster)
                except psycopg2.OperationalError as error:
                    # It is about to stop, or was killed and its children still run.
                    reason = str(error).strip()
                    _log.debug("PostgreSQL is not ready: {error}", error=reason)
            if self._reactor.seconds() > deadline:
                raise EmbeddedPostgresError(_too_late(self._config, cluster, postmaster, reason))
            await self._sleep()

    async def _launch(self, cluster: Cluster) -> tuple[Postmaster, str]:
        """Start the server; this process holds the lock and no server runs."""
        programs = self._programs = await self._in_thread(self._find_programs, cluster)
        if not await self._in_thread(cluster.exists, major_version(programs.folder)):
            await self._initialise(cluster, programs)
        if not self._socket_folder:  # left by an attempt that failed because of old children
            folder = await self._in_thread(cluster.make_socket_folder, programs.account)
            self._socket_folder = str(folder)
        await self._in_thread(cluster.turn_log)
        await self._in_thread(cluster.forget_stale_pids)
        try:
            # pg_ctl starts the server in its own session: a Ctrl-C, which the terminal sends
            # to all its processes, doesn't reach it.
            await programs.run(
                "pg_ctl",
                "start",
                "--wait",
                f"--timeout={math.ceil(self._config.connect_timeout_secs)}",
                f"--log={cluster.log_path.name}",
                f"--options={_server_options(self._socket_folder)}",
                # Only the name, because pg_ctl passes paths to a shell without quoting them.
                cwd=cluster.path,
                data_dir=cluster.path,
            )
        except EmbeddedPostgresError as error:
            tail = await self._in_thread(cluster.log_tail)
            kind = _OldChildrenError if _OLD_CHILDREN in tail else EmbeddedPostgresError
            raise kind(
                f"PostgreSQL did not start in {cluster.path}; {cluster.log_path.name} there ends"
                f" with: {tail or error}"
            ) from error
        postmaster = await self._in_thread(cluster.running)
        if postmaster is None:
            raise EmbeddedPostgresError(
                f"PostgreSQL in {cluster.path} ended just after it had started"
            )
        return postmaster, await self._make_database(cluster, postmaster)

    def _find_programs(self, cluster: Cluster) -> Programs:
        binaries = find_binaries()
        account = choose_account(cluster.path)
        if account is not None:
            grant_access(account, binaries=binaries, folders=[cluster.path])
        return Programs(binaries, account, reactor=self._reactor)

    async def _initialise(self, cluster: Cluster, programs: Programs) -> None:
        _log.info("Creating a PostgreSQL cluster in {path}", path=str(cluster.path))
        draft = await self._in_thread(cluster.make_draft, programs.account)
        # The builtin provider has this locale on every system.
        # https://www.postgresql.org/docs/current/locale.html#LOCALE-PROVIDERS
        await programs.run(
            "initdb",
            f"--username={_SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            data_dir=draft,
        )
        await self._in_thread(cluster.accept, draft)

    async def _make_database(self, cluster: Cluster, postmaster: Postmaster) -> str:
        """Create the role and the database it owns, unless they exist.

        Returns the password: "" if another process, of a version without passwords, runs the
        server.
        """
        if cluster.owned:
            password = await self._require_password(cluster, postmaster)
        else:
            password = await self._in_thread(cluster.credentials.read)
        role, database = sql.Identifier(self._config.user), sql.Identifier(self._config.name)
        async with self._superuser(postmaster, password) as connection:
            # Other processes that start at the same time wait here.
            await connection.execute(f"SELECT pg_advisory_lock({_MAKING})")
            if not await _exists(connection, "pg_roles", "rolname", self._config.user):
                await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            if password:
                await _set_password(connection, self._config.user, password)
            if not await _exists(connection, "pg_database", "datname", self._config.name):
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                await connection.execute(create.format(database, role))
        return password

    async def _require_password(self, cluster: Cluster, postmaster: Postmaster) -> str:
        """Return the superuser's password; from now on every connection needs one.

        A new cluster trusts all local connections, as do those that earlier versions of this
        program created. It does so until the last step, so that a start that is killed here can be
        repeated.
        """
        password = await self._in_thread(cluster.credentials.make)
        if await self._in_thread(cluster.credentials.is_required):
            return password
        async with self._superuser(postmaster, password) as connection:
            await _set_password(connection, _SUPERUSER, password)
            await self._in_thread(cluster.credentials.require)
            await connection.execute("SELECT pg_reload_conf()")
        return password

    @asynccontextmanager
    async def _superuser(self, postmaster: Postmaster, password: str) -> AsyncIterator[Connection]:
        config = dataclasses.replace(
            self._config,
            host=postmaster.socket_folder,
            port=postmaster.port,
            user=_SUPERUSER,
            name=_SUPERUSER,
            password=password,
            require_auth=_REQUIRE_AUTH,
        )
        connection = await connect(
            config,
            reactor=self._reactor,
            statement_timeout_secs=None,
            timeout_secs=self._config.connect_timeout_secs,
        )
        try:
            yield connection
        finally:
            connection.close()

    # --- watching ---------------------------------------------------------------------------

    async def _is_running(self) -> bool:
        assert self._cluster is not None
        return self._may_end or await self._in_thread(self._cluster.running) is not None

    async def _restart(self) -> None:
        """Start the server again in the same place; the pool reconnects by itself."""
        assert self._cluster is not None
        await self._obtain(self._cluster)

    # --- helpers ----------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        if self._cluster is None or not self._cluster.owned:
            return
        with suppress(OSError, EmbeddedPostgresError):  # the process is ending and must not wait
            postmaster = self._cluster.running()  # one small file: no thread needed
            if postmaster is not None:
                os.kill(postmaster.pid, number)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await in_thread(self._reactor, function, *args)

    def _sleep(self) -> Deferred[None]:
        return deferLater(self._reactor, _POLL_SECS)


async def _exists(connection: Connection, table: str, column: str, name: str) -> bool:
    query = sql.SQL("SELECT FROM {} WHERE {} = %s")
    found = await connection.execute(query.format(*map(sql.Identifier, (table, column))), (name,))
    return bool(found.rowcount)


async def _set_password(connection: Connection, role: str, password: str) -> None:
    await connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(role), sql.Literal(scram_verifier(password))
        )
    )


def _server_options(socket_folder: str) -> str:
    """Return options for ``postgres``, quoted for the shell that pg_ctl uses."""
    quoted = '"' + socket_folder.replace('"', '""') + '"'  # the setting is a list of folders
    settings = {"listen_addresses": "", "port": PORT, "unix_socket_directories": quoted}
    return " ".join("-c " + shlex.quote(f"{name}={value}") for name, value in settings.items())


def _too_late(
    config: DbConfig, cluster: Cluster, postmaster: Postmaster | None, reason: str
) -> str:
    waited = f"after {config.connect_timeout_secs:g} s (DB_CONNECT_TIMEOUT_SECS)"
    if postmaster is None:
        return (
            f"another process has the lock {cluster.lock_path} and {waited} there is still no"
            f" PostgreSQL in {cluster.path}"
        )
    return (
        f"the PostgreSQL that runs in {cluster.path} (process {postmaster.pid}) does not answer"
        f" {waited}{reason and f': {reason}'}"
    )
