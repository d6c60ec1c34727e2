"""A product's life with an installed x121: written, tested, served, upgraded to a newer x121.

``python -m tests.product WHEEL`` does that in a folder of its own, with nothing of this tree but
the wheel, and a newer one that is built from it.  It needs a package index, as pip is configured.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
_NOT_SOURCE = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".venv*", "__pycache__", "*.egg-info", "build", "dist", "var"
)
_FEATURES = (
    ("board", "title:text"),
    ("card", "title:text", "state:open|done", "due:date?", "board:ref",
     "--in=/boards/<int:board_id>"),
)  # fmt: skip


def main(wheel: Path) -> None:
    """Raise :class:`subprocess.CalledProcessError` or :class:`AssertionError` if anything fails."""
    with tempfile.TemporaryDirectory(prefix="x121-product-") as name:
        folder = Path(name)
        wheels = folder / "wheels"
        wheels.mkdir()
        shutil.copy(wheel, wheels)
        environ = _environ(wheels)

        _say("Installing the wheel in an environment that has nothing else")
        _run(sys.executable, "-m", "venv", "bare", folder=folder, environ=environ)
        bare = folder / "bare/bin"
        _run(
            bare / "python",
            "-m",
            "pip",
            "install",
            "-q",
            wheel.name,
            folder=wheels,
            environ=environ,
        )

        _say("Writing a product and its features")
        _run(bare / "x121", "new", "studio", folder=folder, environ=environ)
        studio = folder / "studio"
        for feature in _FEATURES:
            _run(bare / "x121", "new-feature", *feature, folder=studio, environ=environ)
        _check(studio, environ, notes=["before"])

        version = _build_newer(wheel, folder, environ)
        _say(f"Upgrading to x121 {version}")
        x121 = ("--upgrade", "x121")
        _run(studio / ".venv/bin/pip", "install", "-q", *x121, folder=studio, environ=environ)
        installed = _output(studio / ".venv/bin/x121", "--version", folder=studio, environ=environ)
        assert installed == f"x121 {version}\n", installed
        _check(studio, environ, notes=["before", "after"])


def _check(studio: Path, environ: dict[str, str], *, notes: list[str]) -> None:
    """Run the product's own checks and its server, which has all but the last of ``notes``."""
    _run(".ci/run", folder=studio, environ=environ)
    _say("Serving it with twistd")
    with _served(studio, environ) as port:
        *old, new = notes
        assert _titles(port) == old
        status, _ = _ask(port, "POST", {"title": new})
        assert status == 201, status
        assert _titles(port) == notes


@contextmanager
def _served(studio: Path, environ: dict[str, str]) -> Iterator[int]:
    """Give the port of the product's server, which must stop in order."""
    settings = {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": "0", "LOG_FORMAT": "json"}
    server = subprocess.Popen(
        [studio / ".venv/bin/twistd", "-n", "studio"],
        cwd=studio,
        env={**environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    lines = map(json.loads, server.stdout)
    try:
        yield next(line["port"] for line in lines if "port" in line)
        server.send_signal(signal.SIGTERM)
        *_, last = lines
        assert "requests_drained" in last, last
        assert server.wait() == 0, server.returncode
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def _titles(port: int) -> list[str]:
    _, page = _ask(port, "GET")
    return [note["title"] for note in page["items"]]


def _ask(port: int, method: str, fields: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = None if fields is None else json.dumps(fields)
        connection.request(method, "/api/v1/notes", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def _build_newer(wheel: Path, folder: Path, environ: dict[str, str]) -> str:
    """Build a wheel with a higher version beside the first one; return that version."""
    release, last = wheel.name.split("-")[1].rsplit(".", 1)
    version = f"{release}.{int(last) + 1}"
    _say(f"Building x121 {version}")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_NOT_SOURCE)
    setup = source / "setup.py"
    text, count = re.subn(
        r'(?m)^VERSION = ".*"$', f'VERSION = "{version}"', setup.read_text("utf-8")
    )
    assert count == 1, "setup.py has no line VERSION = ..."
    setup.write_text(text, "utf-8")
    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder / "wheels", source)
    _run(folder / "bare/bin/python", *build, folder=folder, environ=environ)
    return version


def _environ(wheels: Path) -> dict[str, str]:
    """Return an environment that says nothing of this tree, and where pip finds the wheels."""
    ours = ("X121_", "DB_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    found = f"{kept.get('PIP_FIND_LINKS', '')} {wheels}".strip()
    return {**kept, "PIP_FIND_LINKS": found, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _run(*command: str | Path, folder: Path, environ: dict[str, str]) -> None:
    subprocess.run(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, check=True)


def _output(*command: str | Path, folder: Path, environ: dict[str, str]) -> str:
    return subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _say(text: str) -> None:
    sys.stdout.write(f"==> {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.product WHEEL")
    main(Path(sys.argv[1]).resolve())
