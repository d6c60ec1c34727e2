"""``python -m tests.conformance``: the Autobahn Testsuite's fuzzing client against x121.

The exit code is 0 where all is well or the suite can't be had (unless ``--require``), else 1.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.conformance.programs import Deadline, TooLate, say
from tests.conformance.python2 import Unavailable, is_python2, make_environment
from tests.conformance.report import describe, read_results, result_table
from tests.conformance.suite import Failed, choose, fuzz, read_suite
from tests.conformance.target import check_handshake, running_x121

__all__ = ["main"]

_WAYS = ("fast", "stock")
"""The values of ``X121_WEBSOCKET``: with the fast lane and without."""


def main() -> None:
    """Run the suite, print what it found, and exit."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: sys.exit(1))
    try:
        with _folder(options.report) as report:
            is_well = _run(options, report, Deadline(options.deadline))
    except Unavailable as reason:
        say(f"conformance: NOT RUN: {reason}")
        is_well = not options.require
    except (Failed, TooLate) as reason:
        say(f"conformance: FAILED: {reason}")
        is_well = False
    except KeyboardInterrupt:
        sys.exit("\nconformance: interrupted; everything it started is stopped")
    sys.exit(0 if is_well else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description="The Autobahn Testsuite against x121."
    )
    parser.add_argument("--python", type=Path, metavar="PATH", help="the Python 2.7 to use")
    parser.add_argument(
        "--require", action="store_true", help="fail where the suite can't be installed"
    )
    parser.add_argument("--url", metavar="ws://...", help="test a server that runs already")
    parser.add_argument(
        "--way", choices=_WAYS, help="only with this X121_WEBSOCKET; else with each"
    )
    parser.add_argument(
        "--cases", nargs="+", default=["*"], metavar="CASE", help="such as 7.* or 9.1.6; else all"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="keep the report there")
    parser.add_argument(
        "--deadline", type=float, default=900.0, metavar="SECS", help="for all of it; else 900"
    )
    options = parser.parse_args()
    if options.python:
        # Programs run in other folders than ours.
        options.python = Path(shutil.which(options.python) or options.python).absolute()
        if not is_python2(options.python):
            parser.error(f"--python {options.python} is no Python 2.7 that runs")
    if options.url and not (options.url.startswith("ws://") and urlsplit(options.url).hostname):
        parser.error("--url has to be a ws://...")
    return options


@contextmanager
def _folder(asked_for: Path | None) -> Iterator[Path]:
    if asked_for is None:
        with tempfile.TemporaryDirectory(prefix="x121-conformance-") as name:
            yield Path(name)
    else:
        asked_for.mkdir(parents=True, exist_ok=True)
        yield asked_for.resolve()


def _run(options: argparse.Namespace, report: Path, deadline: Deadline) -> bool:
    """Return whether all was well."""
    python = make_environment(options.python, deadline)
    suite = read_suite(python, report, deadline)
    cases = choose(suite, options.cases)
    wrong: list[str] = []
    begun = time.monotonic()
    with _targets(options, report, wrong) as urls:
        for url in urls.values():
            check_handshake(url)
        say(f"==> Running {len(cases)} of {len(suite.cases)} cases against {', '.join(urls)}")
        fuzz(python, urls, suite, cases, report, deadline)
    for name in urls:
        results = read_results(report, name, cases)
        say(f"\n{name}\n{result_table(results, suite)}")
        wrong += [f"{name}: {describe(result)}" for result in results if result.is_wrong]
    say("\n".join(["", *(f"  {text}" for text in wrong)]))
    say(f"conformance: {'FAILED' if wrong else 'passed'} after {time.monotonic() - begun:.0f} s")
    if options.report:
        say(f"The report is {report / 'index.html'}")
    return not wrong


@contextmanager
def _targets(
    options: argparse.Namespace, report: Path, wrong: list[str]
) -> Iterator[dict[str, str]]:
    """Give the URLs to test by name; what is wrong with servers of ours is then in ``wrong``."""
    if options.url is not None:
        yield {options.url: options.url}
        return
    with ExitStack() as stack:
        targets = {
            f"x121 {way}": stack.enter_context(running_x121(way, report / f"server-{way}.log"))
            for way in ([options.way] if options.way else _WAYS)
        }
        yield {name: target.url for name, target in targets.items()}
        for name, target in targets.items():
            wrong += [f"{name}: {text}" for text in target.stop()]


if __name__ == "__main__":
    main()
