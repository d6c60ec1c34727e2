"""Scripts for Node.js, with the package that they need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["install"]

INSTALL_SECS = 60.0


def install(script: Path, package: str, folder: Path) -> Path:
    """Return ``script``, copied to ``folder``, where Node.js finds ``package``.

    Skips the test where that can't be installed.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
    try:
        done = subprocess.run(
            [npm, "install", "--prefix", str(folder), "--ignore-scripts", *quiet, package],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECS,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {package} within {INSTALL_SECS:g} s")
    if done.returncode:
        pytest.skip(f"npm can't install {package}: {done.stderr.strip()[-500:]}")
    return Path(shutil.copy(script, folder))
