"""The Autobahn Testsuite's fuzzing client: which cases it knows, and a run of some of them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.programs import Deadline, TooLate, run, said, say

__all__ = ["Case", "Failed", "Suite", "choose", "fuzz", "group_of", "read_suite"]

# Both are Python 2.
_LIST = """
import io, json, sys
from autobahntestsuite.case import *
from autobahntestsuite.case import CaseSetname
from autobahntestsuite.caseset import CaseSet
known = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
cases = [(known.caseClasstoId(case), case.DESCRIPTION) for case in Cases]
json.dump({"groups": CaseCategories, "cases": cases}, io.open(sys.argv[1], "wb"))
"""
_FUZZ = "from autobahntestsuite.wstest import run; run()"  # what its entry point is


class Failed(Exception):
    """The suite came to no end; the text says why."""


@dataclass(frozen=True)
class Case:
    """One of the suite's cases; its number is something like ``7.1.3``."""

    number: str
    description: str


@dataclass(frozen=True)
class Suite:
    """All cases in their order, and the names of their groups by number, such as ``7``."""

    cases: tuple[Case, ...]
    groups: Mapping[str, str]


def group_of(number: str) -> str:
    """Return the group of a case."""
    return number.partition(".")[0]


def read_suite(python: Path, folder: Path, deadline: Deadline) -> Suite:
    """Return what the suite that ``python`` has knows.  ``folder`` is for files."""
    path, log = folder / "cases.json", folder / "cases.log"
    if run([python, "-c", _LIST, path], log=log, deadline=deadline):
        raise Failed(f"the Autobahn Testsuite doesn't start:\n{said(log)}")
    known = json.loads(path.read_bytes())
    cases = tuple(Case(number, _plain(text)) for number, text in known["cases"])
    return Suite(cases, known["groups"])


def choose(suite: Suite, patterns: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases that any of ``patterns`` means: ``7.1.3``, ``7.*``, ``7`` or ``*``.

    Raises :class:`Failed` where one means nothing.
    """
    chosen = set()
    for pattern in patterns:
        start = pattern.removesuffix("*").removesuffix(".")
        found = {c for c in suite.cases if f"{c.number}.".startswith(f"{start}." if start else "")}
        if not found:
            raise Failed(f"--cases {pattern}: there is no such case")
        chosen |= found
    return tuple(case for case in suite.cases if case in chosen)


def fuzz(
    python: Path,
    urls: Mapping[str, str],
    suite: Suite,
    cases: Collection[Case],
    report: Path,
    deadline: Deadline,
) -> None:
    """Run ``cases`` against each of the servers, whose names in the report ``urls`` has.

    The suite writes into the folder ``report``.  Raises :class:`Failed` where it doesn't come to
    its end.  One that loses a server does.
    """
    spec, log = report / "spec.json", report / "client.log"
    (report / "index.json").unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    spec.write_text(json.dumps(_spec(urls, cases, report)))
    progress = _Progress(log, suite)
    client = ["-u", "-c", _FUZZ, "--mode=fuzzingclient", f"--spec={spec}"]
    try:
        code = run([python, *client], log=log, deadline=deadline, meanwhile=progress.tell)
    except TooLate as error:
        at = f"case {progress.last}" if progress.last else "before the first case"
        raise Failed(f"{error}; it was at {at}") from error
    if code or not (report / "index.json").exists():
        raise Failed(f"the fuzzing client broke down (exit code {code}):\n{said(log)}")


def _spec(urls: Mapping[str, str], cases: Collection[Case], report: Path) -> dict[str, Any]:
    return {
        "outdir": str(report),
        "servers": [{"agent": name, "url": url} for name, url in urls.items()],
        "cases": [case.number for case in cases],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


def _plain(text: str) -> str:
    """Return a description without its HTML, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


class _Progress:
    """Says when a group of cases begins against a server."""

    def __init__(self, log: Path, suite: Suite) -> None:
        self.last = ""
        self._log = log
        self._suite = suite
        self._told: set[tuple[str, str]] = set()

    def tell(self) -> None:
        """Read how far it is."""
        text = self._log.read_text(errors="replace")
        pattern = r"^Running test case ID ([\d.]+) for agent (.+) from peer "
        for number, name in re.findall(pattern, text, re.MULTILINE):
            self.last = f"{number} against {name}"
            group = group_of(number)
            if (name, group) not in self._told:
                self._told.add((name, group))
                say(f"    {name}: {group} {self._suite.groups[group]} ...")
