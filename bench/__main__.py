"""``python -m bench [http|websockets]``: without a word it is ``http``."""

from __future__ import annotations

import argparse
import signal
import sys

from bench import over_http, over_websockets

_REASONS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGALRM: "out of time",
}


def main() -> None:
    """Run the benchmark that the command line names; whatever it started ends with it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of x121.")
    commands = parser.add_subparsers(dest="command")
    http = commands.add_parser("http", help="requests, against a bare Klein site (the default)")
    over_http.add_options(http)
    websockets = commands.add_parser("websockets", help="WebSockets, against a bare Autobahn")
    over_websockets.add_options(websockets)
    arguments = sys.argv[1:]
    if not {"http", "websockets", "-h", "--help"} & set(arguments[:1]):
        arguments.insert(0, "http")
    options = parser.parse_args(arguments)
    for number in _REASONS:
        signal.signal(number, _stop)
    if options.command == "http":
        over_http.run(http, options)
    else:
        over_websockets.run(websockets, options)


def _stop(number: int, _: object) -> None:
    """Leave; what was started is stopped on the way out, and no second signal disturbs that."""
    for one in _REASONS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(f"\nbench: {_REASONS[signal.Signals(number)]}; everything it started is stopped")


if __name__ == "__main__":
    main()
