"""``twistd`` as it is, but ``x121`` also serves the trials: ``python -m tests.process.start``."""

from __future__ import annotations

from functools import partial

from twisted.scripts.twistd import run

from tests.process.trials import routes_with_trials
from x121 import tap

if __name__ == "__main__":
    # twistd takes this name from the module that the plugin names.
    tap.makeService = partial(tap.makeService, make_routes=routes_with_trials)
    run()
