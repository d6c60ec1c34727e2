"""The database goes away and comes back while requests arrive."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from itertools import islice
from pathlib import Path

from tests.postgres import PausablePostgres, active_queries
from tests.process.conftest import Serve
from tests.process.server import DEADLINE_SECS, Answer, ServerProcess, database_environ, wait_until

ACQUIRE_TIMEOUT_SECS = 0.5
MARGIN_SECS = 2.0
POOL_SIZE = 4


class Load:
    """Clients that ask again and again until told to stop; ``seen`` has status and seconds."""

    def __init__(self, server: ServerProcess, clients: int) -> None:
        self.seen: list[tuple[int, float]] = []
        self._server = server
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _ask(self) -> None:
        connection = self._server.connect()
        while not self._over.is_set():
            began = time.monotonic()
            connection.request("GET", "/trials/query/0.001")
            self.seen.append((Answer.read(connection).status, time.monotonic() - began))

    def wait_for(self, status: int, times: int) -> None:
        """Return once ``status`` was answered ``times`` more often."""
        before = len(self.seen)
        wait_until(
            lambda: [seen for seen, _ in self.seen[before:]].count(status) >= times,
            f"{times} answers with {status}",
        )


def test_outage_under_load(tmp_path: Path, private_postgres: PausablePostgres) -> None:
    """Requests meanwhile get 503 in time; then the pool is whole again without a restart."""
    config = private_postgres.config(private_postgres.create_database())
    environ = database_environ(config) | {
        "DB_ACQUIRE_TIMEOUT_SECS": str(ACQUIRE_TIMEOUT_SECS),
        "DB_POOL_MAX": str(POOL_SIZE),
    }
    with ServerProcess(tmp_path, environ, trials=True) as server:
        with Load(server, clients=8) as load:
            load.wait_for(200, times=20)
            private_postgres.stop()
            load.wait_for(503, times=20)
            assert server.get("/health").status == 200
            assert server.get("/health/ready").status == 503
            private_postgres.start()
            load.wait_for(200, times=100)
        assert {status for status, _ in load.seen} == {200, 503}
        assert max(seconds for _, seconds in load.seen) < ACQUIRE_TIMEOUT_SECS + MARGIN_SECS
        held = [server.send("/trials/query/600.0") for _ in range(POOL_SIZE)]
        wait_until(
            lambda: len(active_queries(private_postgres, config.name)) == POOL_SIZE, "a whole pool"
        )
        for connection in held:
            connection.close()
        wait_until(lambda: not active_queries(private_postgres, config.name), "an idle pool")
        assert server.get("/health/ready").status == 200
        assert server.stop() == 0
        assert not any("traceback" in line for line in server.lines)
        assert not server.find("Unhandled")
        assert server.errors == []


def test_embedded_postgres_dies(serve: Serve, folder: Path) -> None:
    """An embedded PostgreSQL that is killed is started again; till then there is 503."""
    data = folder / "data"
    environ = {"DB_DATA_DIR": str(data), "DB_ACQUIRE_TIMEOUT_SECS": "0.2"}
    server = serve(environ, trials=True)
    assert server.get("/health/ready").status == 200
    with Load(server, clients=2) as load:
        load.wait_for(200, times=20)
        kill_postmaster(data)
        load.wait_for(503, times=2)
        assert server.get("/health").status == 200
        assert server.get("/health/ready").status == 503
        server.wait_for("PostgreSQL has ended by itself", level="error")
        load.wait_for(200, times=100)
    # A statement that a server process has when its postmaster dies may get no response: then the
    # request times out.
    assert {status for status, _ in load.seen} - {408} == {200, 503}
    assert server.get("/health/ready").status == 200
    assert server.find("PostgreSQL is running again after")
    assert server.stop() == 0
    assert server.left_behind == []
    assert not any("traceback" in line for line in server.lines)


def test_embedded_postgres_dies_in_a_stop(serve: Serve, folder: Path) -> None:
    """One that is killed while the server stops is not started again."""
    data = folder / "data"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE_SECS)
        manager.bind(str(folder / "notify"))
        environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}
        server = serve(environ | {"DB_DATA_DIR": str(data)}, trials=True)
        held = server.send("/trials/hold")
        server.wait_for("Trial begun")
        server.send_signal(signal.SIGTERM)
        while not manager.recv(4096).startswith(b"STOPPING=1"):
            pass
        kill_postmaster(data)
        # Each comes half a second after the one before: in two the death would be noticed.
        beats = iter(lambda: manager.recv(4096), b"")
        list(islice(filter(b"WATCHDOG=1".__eq__, beats), 5))
    (folder / "release").touch()
    assert Answer.read(held).status == 200
    assert server.wait() == 0
    assert not server.find("restarting it")
    assert server.left_behind == []


def kill_postmaster(data: Path) -> None:
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
