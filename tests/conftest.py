"""The fixtures that every test may use, besides those of ``x121.testing``."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.pgbouncer import find_pgbouncer, running_pgbouncer
from tests.postgres import PausablePostgres
from x121.config import DbConfig
from x121.testing.postgres import running_postgres

# The same tests are run by several classes, which Hypothesis takes for a mistake: tests/contract.
# Its deadline is wall-clock time, which says more of a busy machine than of an example.
settings.register_profile(
    "x121",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors],
)
settings.load_profile("x121")

# A background job of a shell ignores SIGQUIT, and nohup's SIGHUP; so would the servers of tests.
for number in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

pytest_plugins = ["x121.testing.fixtures"]


@pytest.fixture
def private_postgres() -> Iterator[PausablePostgres]:
    """Return a server of the test's own, to stop, pause and start as it likes."""
    server = PausablePostgres()
    with running_postgres(server):
        yield server


@pytest.fixture
def pgbouncer() -> Iterator[Callable[..., DbConfig]]:
    """Return what starts a PgBouncer before a database: ``pgbouncer(config, pool_mode="session")``.

    It accepts what x121 begins a connection with, unless told otherwise.
    """
    program = find_pgbouncer()
    if program is None:
        pytest.skip("there is no pgbouncer: install Debian's package of that name")
    with ExitStack() as running:

        def start(server: DbConfig, **settings: str) -> DbConfig:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="x121-test-")))
            lines = {"ignore_startup_parameters": "options", **settings}
            return running.enter_context(
                running_pgbouncer(program, folder, server, _free_port(), **lines)
            )

        yield start


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
