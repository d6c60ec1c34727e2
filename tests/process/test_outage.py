"""The database goes away and comes back while requests arrive."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.postgres import PausablePostgres, active_queries
from tests.process.server import Answer, ServerProcess, database_environ, wait_until

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
