"""A Python 2.7 with the Autobahn Testsuite, which never came to Python 3.

Nothing is installed into the Python 2.7 that is found, and it needs neither pip nor virtualenv:
an environment is made with a virtualenv of our own Python, the last that knows 2.7.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.conformance.programs import Deadline, TooLate, run, said, say
from tests.process.server import ROOT

__all__ = ["CACHE", "Unavailable", "is_python2", "make_environment"]

CACHE = ROOT / ".venv-conformance"
"""The environment, which is made once."""

_MADE_OF = CACHE / "made-of"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_VIRTUALENV = (
    "virtualenv==20.21.1",
    "distlib==0.4.4",
    "filelock==3.32.7",
    "platformdirs==3.11.0",
)
_PROBE_TIMEOUT_SECS = 10.0


class Unavailable(Exception):
    """The suite can't be run here; the text says why and what to do."""


# --- which Python -------------------------------------------------------------------------


def is_python2(path: Path) -> bool:
    """Return whether ``path`` runs and is a Python 2.7; a shim of pyenv's may not."""
    try:
        done = subprocess.run(
            [path, "-E", "-c", "import sys; print(sys.version_info[:2])"],
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_SECS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == b"(2, 7)"


def _find_python() -> Path:
    """Return a Python 2.7 that runs, from PATH or pyenv."""
    for path in _candidates():
        if is_python2(path):
            return path
    raise Unavailable(
        "there is no Python 2.7 on PATH or in ~/.pyenv/versions, which the Autobahn Testsuite"
        " needs: install one (pyenv install 2.7.18), or say where it is with --python PATH"
    )


def _candidates() -> Iterator[Path]:
    for folder in os.get_exec_path():
        yield Path(folder, "python2.7").absolute()
    with suppress(RuntimeError):  # nobody's home
        home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        yield from sorted(home.glob("versions/2.7*/bin/python2.7"), reverse=True)


# --- its environment ----------------------------------------------------------------------


def make_environment(asked_for: Path | None, deadline: Deadline) -> Path:
    """Return the Python of an environment with the suite, made now unless it is there.

    It is made of ``asked_for``, or of any Python 2.7.  Raises :class:`Unavailable`.
    """
    ours = CACHE / "bin/python"
    if _is_made(asked_for) and is_python2(ours):
        return ours
    python = asked_for or _find_python()
    say(f"==> Installing the Autobahn Testsuite in {CACHE.name} with {python}")
    shutil.rmtree(CACHE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="x121-conformance-") as name:
        _install(python, ours, Path(name), deadline)
    _MADE_OF.write_text(_made_of(python))
    return ours


def _is_made(asked_for: Path | None) -> bool:
    """Whether the environment was finished, and of what it would be made of now."""
    if not _MADE_OF.exists():
        return False
    made_of = _MADE_OF.read_text()
    return made_of == _made_of(asked_for or Path(made_of.partition("\n")[0]))


def _made_of(python: Path) -> str:
    return "\n".join([str(python), *_VIRTUALENV, _REQUIREMENTS.read_text()])


def _install(python: Path, ours: Path, tools: Path, deadline: Deadline) -> None:
    site = tools / "site"
    data = ["--no-periodic-update", "--app-data", str(tools / "data")]
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps"]
    step = partial(_step, tools=tools, deadline=deadline)
    step("virtualenv", [sys.executable, *pip, "--target", str(site), *_VIRTUALENV])
    step(
        "an environment",
        [sys.executable, "-m", "virtualenv", *data, "--python", python, CACHE],
        environ={"PYTHONPATH": str(site)},
    )
    step("the Autobahn Testsuite", [ours, *pip, "--requirement", _REQUIREMENTS])


def _step(
    what: str,
    command: Sequence[str | Path],
    *,
    tools: Path,
    deadline: Deadline,
    environ: Mapping[str, str] | None = None,
) -> None:
    log = tools / "log"
    # pip leaves its folders behind when it is killed; there they go with ours.
    places = {"TMPDIR": str(tools)}
    try:
        code = run(command, log=log, deadline=deadline, environ={**places, **(environ or {})})
    except (TooLate, OSError) as error:
        raise Unavailable(f"installing {what} failed: {error}\n{said(log)}") from error
    if code:
        raise Unavailable(f"installing {what} failed with exit code {code}:\n{said(log)}")
