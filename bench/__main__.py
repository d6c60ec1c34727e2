"""``python -m bench [compare|websockets|start|typed]``: without a word it is ``compare``."""

from __future__ import annotations

import argparse
import signal
import sys

from bench import compare, over_websockets, start, typed

_REASONS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
    signal.SIGALRM: "out of time",
}
_COMMANDS = {
    "compare": (compare, "x121 and its peers, in one table (the default)"),
    "websockets": (over_websockets, "idle WebSockets and slow readers, beside a bare Autobahn"),
    "start": (start, "how soon x121 answers"),
    "typed": (typed, "what a typed endpoint costs beside a plain handler"),
}


def main() -> None:
    """Run the benchmark that the command line names; whatever it started ends with it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of x121.")
    commands = parser.add_subparsers(dest="command")
    parsers = {}
    for name, (module, text) in _COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=text)
        module.add_options(parsers[name])
    arguments = sys.argv[1:]
    if not {*_COMMANDS, "-h", "--help"} & set(arguments[:1]):
        arguments.insert(0, "compare")
    options = parser.parse_args(arguments)
    for number in _REASONS:
        signal.signal(number, _stop)
    _COMMANDS[options.command][0].run(parsers[options.command], options)


def _stop(number: int, _: object) -> None:
    """Leave; what was started is stopped on the way out, and no second signal disturbs that."""
    for one in _REASONS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(f"\nbench: {_REASONS[signal.Signals(number)]}; everything it started is stopped")


if __name__ == "__main__":
    main()
