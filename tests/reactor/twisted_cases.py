"""Runs Twisted's own cases on our reactor and writes what came of each, as one JSON object.

``python -m tests.reactor.twisted_cases builders MODULE...`` runs those cases of the modules that
build a reactor for themselves (``twisted.internet.test.reactormixins``), each on one of ours;
``installed`` in place of ``builders`` runs all of them, on ours as the reactor of the process.
Standard input is a JSON list of the names of cases to leave out.
"""

from __future__ import annotations

import json
import sys
import unittest
from collections.abc import Iterator
from typing import Any

__all__ = ["LEFT_OUT", "PASSED", "SKIPPED"]

PASSED = "passed"
SKIPPED = "skipped: "
LEFT_OUT = "left out"

# Some cases look for a free port and then listen on it, which another process may do before them.
_TRIES = 10
_BAD_LUCK = "Address already in use"


class _Outcome(unittest.TestResult):
    """What came of one case: :data:`PASSED`, or why it was skipped, or its tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._texts) or PASSED

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        # unittest gives a triple, trial a Failure.
        failed = hasattr(err, "getTraceback")
        self._texts.append(err.getTraceback() if failed else "".join(map(str, err)))

    addFailure = addError

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._texts.append(SKIPPED + reason)


def _outcome_of(case: unittest.TestCase) -> str:
    for _ in range(_TRIES):
        outcome = _Outcome()
        case.run(outcome)
        if _BAD_LUCK not in str(outcome):
            break
    return str(outcome)


def _name_of(case: unittest.TestCase) -> str:
    """Return ``module.Class.method``, without what a builder adds to the name of its class."""
    module, kind, method = case.id().rsplit(".", 2)
    return f"{module.rpartition('.')[2]}.{kind.removesuffix('_UvloopReactorTests')}.{method}"


def _cases_in(suite: Any) -> Iterator[unittest.TestCase]:
    for one in suite:
        if isinstance(one, unittest.TestCase):
            yield one
        else:
            yield from _cases_in(one)


def _load(modules: list[str], *, builders: bool) -> list[unittest.TestCase]:
    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial.runner import TestLoader

    ReactorBuilder._reactors = ["x121.reactor.reactor.UvloopReactor"]
    load = TestLoader().loadByName
    cases = [case for module in modules for case in _cases_in(load(module))]
    return [case for case in cases if isinstance(case, ReactorBuilder) or not builders]


def _have_loops_closed() -> None:
    """Have builders close the loops of their reactors too, which hold file descriptors."""
    from twisted.internet.test.reactormixins import ReactorBuilder

    unbuild = ReactorBuilder._unbuildReactor

    def unbuild_and_close(self: Any, reactor: Any) -> None:
        unbuild(self, reactor)
        reactor.iterate()  # what is being closed is closed in this turn
        reactor._asyncioEventloop.close()

    ReactorBuilder._unbuildReactor = unbuild_and_close  # type: ignore[method-assign]


def main(kind: str, *modules: str) -> None:
    """Run the cases, and write what came of them to standard output."""
    left_out = json.load(sys.stdin)
    if kind == "installed":
        from x121.reactor.reactor import install

        install()
    else:
        _have_loops_closed()
    outcomes = {}
    for case in _load(list(modules), builders=kind == "builders"):
        name = _name_of(case)
        outcomes[name] = LEFT_OUT if name in left_out else _outcome_of(case)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
