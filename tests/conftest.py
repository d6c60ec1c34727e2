"""The fixtures that every test may use, besides those of ``x121.testing``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PausablePostgres
from x121.testing.postgres import running_postgres

# The same tests are run by several classes, which Hypothesis takes for a mistake: tests/contract.
settings.register_profile(
    "x121", settings.default, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("x121")

pytest_plugins = ["x121.testing.fixtures"]


@pytest.fixture
def private_postgres() -> Iterator[PausablePostgres]:
    """Return a server of the test's own, to stop, pause and start as it likes."""
    server = PausablePostgres()
    with running_postgres(server):
        yield server
