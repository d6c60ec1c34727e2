"""``twistd`` as it is, on a wall clock that a trial may set: ``python -m tests.process.start``."""

from __future__ import annotations

from tests.process import wall_clock

__all__ = ["main"]


def main() -> None:
    """Run twistd."""
    wall_clock.install()  # before anything takes the system's

    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
