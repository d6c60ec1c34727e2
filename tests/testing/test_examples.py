"""The README's tests pass, with pytest and with trial."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import block

ROOT = Path(__file__).parents[2]
BLOCKS = ("tests/conftest.py", "tests/test_example.py", "tests/test_trial_example.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the tests that the README shows, and nothing else."""
    for path in BLOCKS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(block(path))
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit code of ``python -m``, and what was written."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{ROOT}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def test_pytest(folder: Path) -> None:
    """``pytest`` runs the functions, with the fixtures."""
    code, said = run(folder, "pytest", "-p", "no:cacheprovider", "tests/test_example.py")
    assert (code, "3 passed" in said) == (0, True), said


def test_trial(folder: Path) -> None:
    """``trial`` runs the test case, which needs nothing of pytest."""
    for name in ("pytest", "pytest_twisted"):
        (folder / f"{name}.py").write_text("raise ImportError(__name__)")
    code, said = run(folder, "twisted.trial", "tests/test_trial_example.py")
    assert (code, "PASSED (successes=1)" in said) == (0, True), said


def test_trial_case_beside_pytest_twisted(folder: Path) -> None:
    """A test case for trial that can't run says so: it doesn't hang."""
    code, said = run(folder, "pytest", "-p", "no:cacheprovider", "tests")
    assert (code, "1 failed, 3 passed" in said) == (1, True), said
    assert "ShowTests needs trial: python -m twisted.trial" in said
