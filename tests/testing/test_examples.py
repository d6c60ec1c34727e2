"""The README's tests pass, with pytest and with trial, where its features are built as it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import block
from tests.test_readme import LINE, WS_LINE

ROOT = Path(__file__).parents[2]
BLOCKS = (
    "migrations/0002_create_notes.sql",
    "x121/repositories/notes.py",
    "x121/api/notes.py",
    "x121/api/chat.py",
    "tests/conftest.py",
    "tests/api/test_notes.py",
    "tests/api/test_show_note.py",
)
IMPORTS = "from x121.api.chat import Chat\nfrom x121.api.notes import Notes\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this project, with everything in it that the README shows."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("x121", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in BLOCKS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(block(path))
    routes = folder / "x121/api/routes.py"
    text = routes.read_text()
    for old, new in (
        ("from x121.api.health", f"{IMPORTS}from x121.api.health"),
        ("    return Router()\n", f"    return Router(){LINE}\n"),
        ("WsRouter(state.config, state.ws_manager)\n", f"WsRouter({WS_LINE}\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    routes.write_text(text)
    return folder


def run(project: Path, *arguments: str) -> str:
    """Return what a run of Python says that ends well, and may not warn."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project), "PYTHONDEVMODE": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pytest(project: Path) -> None:
    """``pytest`` runs the functions, with the fixtures."""
    said = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/api/test_notes.py")
    assert "3 passed" in said, said


def test_trial(project: Path) -> None:
    """``trial`` runs the test case, and needs no pytest."""
    (project / "pytest.py").write_text("raise ImportError('pytest is not needed')")
    try:
        said = run(project, "twisted.trial", "tests/api/test_show_note.py")
    finally:
        (project / "pytest.py").unlink()
    assert "PASSED (successes=1)" in said, said


def test_trial_case_beside_pytest_twisted(project: Path) -> None:
    """A test case for trial says so where pytest-twisted's reactor runs; it does not hang."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "ShowNoteTests needs trial: python -m twisted.trial" in done.stdout
