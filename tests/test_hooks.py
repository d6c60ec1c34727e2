"""``.pre-commit-config.yaml``: what git checks before a commit, in a repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".pre-commit-config.yaml"
PRE_COMMIT = str(Path(sys.executable).with_name("pre-commit"))


def test_valid() -> None:
    """pre-commit takes the file, and has nothing to remark."""
    done = subprocess.run(
        [PRE_COMMIT, "validate-config", str(CONFIG)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_programs() -> None:
    """Every hook is local, and runs a program that is there when the tests' extra is."""
    (repo,) = yaml.safe_load(CONFIG.read_text("utf-8"))["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system", hook["id"]
        program = Path(hook["entry"].split()[0])
        if program.parts[0] == ".venv":
            assert Path(sys.executable).with_name(program.name).exists(), hook["entry"]
        else:
            assert hook["entry"].startswith("git ")


class Repository:
    """A git repository with the hooks turned on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.folder.mkdir()
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PRE_COMMIT_HOME": str(folder / "cache"),
            "SKIP": "mypy",  # which looks at the whole tree, and is `make types` already
            **{
                f"GIT_{who}_{what}": "x"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        for name in (CONFIG.name, "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / ".gitignore").write_text(".venv\n")
        for command in (["git", "init", "--quiet"], [PRE_COMMIT, "install"]):
            assert self._run(*command).returncode == 0

    def commit(self, name: str, text: str) -> str:
        """Return what was said against a commit of ``text`` in a file ``name``; nothing is good."""
        (self.folder / name).write_text(text)
        self._run("git", "add", "--all")
        done = self._run("git", "commit", "--quiet", "--message", "A trial")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._environ, capture_output=True, text=True
        )


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_commits(tmp_path: Path) -> None:
    """A commit with a fault of style or layout, or left by a merge, is refused; others aren't."""
    repository = Repository(tmp_path)
    assert repository.commit("good.py", "x = 1\n") == ""
    for name, text, expected in (
        ("bad.py", "import os\n", "F401"),
        ("bad.py", "x   =   1\n", "1 file would be reformatted"),
        ("bad.txt", "<<<<<<< ours\n", "bad.txt:1: leftover conflict marker"),
        ("bad.txt", "x \n", "bad.txt:1: trailing whitespace."),
    ):
        assert expected in repository.commit(name, text)
        (repository.folder / name).unlink()
    assert repository.commit("good.txt", "x\n") == ""
