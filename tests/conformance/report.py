"""What the suite found, read from its report: a table, and everything that is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.suite import Case, Suite, group_of

__all__ = ["COMPRESSION", "Result", "describe", "read_results", "result_table"]

COMPRESSION = ("12", "13")
"""The groups that test permessage-deflate, an extension that a server needn't have."""

_FAILED = "FAILED"
_UNIMPLEMENTED = "UNIMPLEMENTED"
# The suite has more words for what is bad: WRONG CODE, UNCLEAN, FAILED BY CLIENT.
_GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", _UNIMPLEMENTED)
_NOT_RUN = "NOT RUN"
_MAX_SHOWN = 200


@dataclass(frozen=True)
class Result:
    """How a case ended: what the server did, and how it closed the connection."""

    case: Case
    behavior: str
    behavior_close: str
    details: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The worse of the two: ``OK``, ``NON-STRICT``, ... or ``FAILED``."""
        both = (self.behavior, self.behavior_close)
        if not set(both) <= set(_GOOD):
            return _FAILED
        return max(both, key=_GOOD.index)

    @property
    def is_wrong(self) -> bool:
        """Whether this must not be: a failure, or something missing that isn't optional."""
        is_optional = group_of(self.case.number) in COMPRESSION
        return self.verdict == _FAILED or (self.verdict == _UNIMPLEMENTED and not is_optional)


def read_results(report: Path, name: str, cases: Iterable[Case]) -> list[Result]:
    """Return how ``cases`` ended against the server ``name``; one that isn't told of has failed."""
    index = json.loads((report / "index.json").read_bytes()).get(name, {})
    return [_result(report, case, index.get(case.number)) for case in cases]


def _result(report: Path, case: Case, found: Mapping[str, Any] | None) -> Result:
    if found is None:
        return Result(case, _NOT_RUN, _NOT_RUN, {})
    details = json.loads((report / found["reportfile"]).read_bytes())
    return Result(case, found["behavior"], found["behaviorClose"], details)


# --- as text ------------------------------------------------------------------------------


def result_table(results: Collection[Result], suite: Suite) -> str:
    """Return one row a group: how many of its cases ended in which way."""
    verdicts = [*_GOOD, _FAILED]
    rows = [["cases", *verdicts, "of"]]
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(group_of(result.case.number), Counter())[result.verdict] += 1
    for group, count in counts.items():
        rows.append([f"{group:>2} {suite.groups[group]}", *_cells(count, verdicts)])
    rows.append(["   all", *_cells(sum(counts.values(), Counter()), verdicts)])
    return _columns(rows)


def _cells(count: Counter[str], verdicts: Sequence[str]) -> list[str]:
    return [*(str(count[verdict] or "-") for verdict in verdicts), str(count.total())]


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def describe(result: Result) -> str:
    """Return what was wrong with a case, on some lines."""
    case = result.case
    lines = [f"{case.number}: {case.description}"]
    lines.append(f"behavior {result.behavior}, on close {result.behavior_close}")
    if result.details:
        got = result.details
        lines.append(f"expected: {_shown(got['expected'])}")
        lines.append(f"got: {_shown(got['received'])}")
        lines.append(f"{got['result']} {got['resultClose']}".strip())
        lines.append(f"closed with {_shown(got['remoteCloseCode'])} {_why(got)}".strip())
    return "\n      ".join(line[:_MAX_SHOWN] for line in lines)


def _why(got: Mapping[str, Any]) -> str:
    return " ".join(got[key] for key in ("remoteCloseReason", "wasNotCleanReason") if got[key])


def _shown(value: object) -> str:
    return "nothing" if value in (None, [], {}) else json.dumps(value, ensure_ascii=False)
