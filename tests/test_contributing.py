"""CONTRIBUTING.md leads somewhere: to files, names and make targets that there are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TOUR = TEXT.split("## The code in fifteen minutes")[1].split("\n## ")[0]
ITEMS = re.findall(r"^(\d+)\. (.*)", TOUR, re.MULTILINE)
STOPS = re.findall(r"^\d+\. `([^`]+)` `([^`]+)`: ", TOUR, re.MULTILINE)
CODE = re.findall(r"`([^`\n]+)`|^\$ (.*)$", TEXT, re.MULTILINE)


def names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Yield what ``body`` defines; what a class does with its name before it."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (prefix + ast.unparse(target) for target in node.targets)


def test_stops() -> None:
    """Every stop of the tour names a file and something in it, and they are numbered."""
    assert [int(number) for number, _ in ITEMS] == list(range(1, len(STOPS) + 1))


@pytest.mark.parametrize(("path", "name"), STOPS)
def test_stop(path: str, name: str) -> None:
    """What a stop says to look for is defined in its file."""
    source = (ROOT / path).read_text("utf-8")
    assert name in set(names(ast.parse(source).body)), f"{path} defines no {name}"


def test_paths() -> None:
    """Every file and folder that is named is there."""
    words = [word for code in CODE for word in "".join(code).split()]
    paths = {w for w in words if re.fullmatch(r"[\w./-]+/[\w./-]*|[\w.-]+\.(md|py|example)", w)}
    paths -= {path for path in paths if path.startswith((".venv/", "var/"))}
    assert len(paths) > len(STOPS)
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_targets() -> None:
    """Every target of make that is named is in the Makefile."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = [
        word
        for code in map("".join, CODE)
        if code.startswith("make ")
        for word in code.partition("#")[0].split()[1:]
        if "=" not in word
    ]
    assert set(named) >= {"dev", "hooks", "test"}
    assert set(named) - set(targets) == set()


def test_some_tests() -> None:
    """``make test`` runs all tests, or those that TESTS names on its command line."""
    # These tests may be run by make themselves, which would tell another one of it.
    environ = {name: value for name, value in os.environ.items() if "MAKE" not in name}

    def pytest_of(*arguments: str) -> list[list[str]]:
        done = subprocess.run(
            ["make", "-n", "-o", f"{sys.prefix}/.test", "test", f"VENV={sys.prefix}", *arguments],
            cwd=ROOT,
            env={**environ, "TESTS": "tests/db"},
            capture_output=True,
            text=True,
            check=True,
        )
        runs = (line.split("#")[0] for line in done.stdout.splitlines() if "-m pytest" in line)
        return [run.partition("-m pytest")[2].split() for run in runs]

    most, alone = pytest_of()
    assert most[-1] == f"--ignore={alone[0]}"
    assert pytest_of("TESTS=tests/ws -k inbox") == [["tests/ws", "-k", "inbox"]]
