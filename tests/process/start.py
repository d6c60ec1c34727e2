"""``twistd`` as it is, but ``x121`` also serves the trials: ``python -m tests.process.start``."""

from __future__ import annotations

from twisted.application.service import MultiService
from twisted.scripts.twistd import run

from x121 import tap

_make_service = tap.makeService


def make_service(options: tap.Options) -> MultiService:
    """Return the server, with the trials; they are imported once the reactor is chosen."""
    from tests.process.trials import routes_with_trials

    return _make_service(options, make_routes=routes_with_trials)


if __name__ == "__main__":
    # twistd takes this name from the module that the plugin names.
    tap.makeService = make_service  # type: ignore[assignment]
    run()
