"""Servers to test, each ended with its test."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.process.server import HOST, ServerProcess

Serve = Callable[..., ServerProcess]


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
