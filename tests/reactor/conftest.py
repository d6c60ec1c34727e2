"""What every test of the reactor needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reactor.connections import Peer
from tests.reactor.reactors import REACTORS


@pytest.fixture(params=list(REACTORS))
def kind(request: pytest.FixtureRequest) -> str:
    """Return what kind of reactor a test is on."""
    kind: str = request.param
    return kind


@pytest.fixture(autouse=True)
def _peers() -> Iterator[None]:
    yield
    Peer.close_all()
