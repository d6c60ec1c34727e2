"""``twistd`` as it is, but ``x121`` also serves the trials: ``python -m tests.process.start``.

A trial may set the process's wall clock.
"""

from __future__ import annotations

from typing import Any

from tests.process import wall_clock


def main() -> None:
    """Run twistd."""
    wall_clock.install()

    from twisted.scripts.twistd import run

    from x121 import tap

    make_service = tap.makeService

    def make_service_with_trials(options: tap.Options) -> Any:
        # Not before the reactor is chosen.
        from tests.process.trials import routes_with_trials

        return make_service(options, make_routes=routes_with_trials)

    # twistd takes this name from the module that the plugin names.
    tap.makeService = make_service_with_trials  # type: ignore[assignment]
    run()


if __name__ == "__main__":
    main()
