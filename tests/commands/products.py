"""Products that ``x121 new`` has written, for tests of what it generates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "files_in", "generate", "run", "x121"]

ROOT = Path(__file__).parents[2]
_CLI = "from x121.commands.cli import main; main()"
_TIMEOUT_SECS = 240


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder``, with this x121, and with ``environ`` in its environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**_environ(), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECS,
    )


def x121(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``x121`` in ``folder``, with ``environ`` in its environment."""
    return run(folder, "-c", _CLI, *arguments, **environ)


def generate(folder: Path, name: str = "studio") -> Path:
    """Return the folder of a new product."""
    done = x121(folder, "new", name)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return folder / name


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _environ() -> dict[str, str]:
    """Return an environment that says nothing of an application."""
    ours = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("X121_")}
    return {**kept, **ours}
