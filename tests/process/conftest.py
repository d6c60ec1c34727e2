"""Servers to test, each ended with its test.

Every test in this folder runs twice: on the fast reactor, HTTP and WebSocket, and on Twisted's and
Autobahn's own.  Nobody outside may see a difference.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.process.browser import CHROMIUM, find_chromium
from tests.process.server import HOST, SPEED, ServerProcess

Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="package", autouse=True, params=["fast", "stock"])
def speed(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have every server run on the fast parts, or on the stock ones; return which."""
    with pytest.MonkeyPatch.context() as environ:
        for name in SPEED:
            environ.setenv(name, request.param)
        yield request.param


@contextmanager
def _passable_folder() -> Iterator[Path]:
    """Make a folder that everybody may pass: PostgreSQL may run as somebody else."""
    with tempfile.TemporaryDirectory(prefix="x121-test-") as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def embedded() -> Iterator[dict[str, str]]:
    """Return what starts a server on an embedded PostgreSQL that is made once for all tests."""
    with _passable_folder() as folder:
        yield {"DB_DATA_DIR": str(folder / "postgres")}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder."""
    with _passable_folder() as path:
        yield path


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Return what starts a :class:`ServerProcess` in ``folder`` with a given environment."""
    with ExitStack() as servers:

        def start(environ: dict[str, str], **options: Any) -> ServerProcess:
            return servers.enter_context(ServerProcess(folder, environ, **options))

        yield start


@pytest.fixture
def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the program."""
    found = find_chromium()
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(CHROMIUM)} works")
    return found
