"""Schemathesis asks for everything that the document says, and much that it forbids.

It finds every answer that isn't documented, or isn't as documented: https://schemathesis.readthedocs.io
Its settings stand in ``schemathesis.toml``, and what it has to be told in
``schemathesis_hooks.py``.  It makes the same requests each time; to try others::

    st --config-file=tests/process/schemathesis.toml run --seed=7 -n 500 URL/openapi.json
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.process.server import HOST, ROOT, ServerProcess, database_environ
from x121.config import DbConfig

DEADLINE_SECS = 120.0
SETTINGS = Path(__file__).with_name("schemathesis.toml")
# The trials misbehave, and say nothing of it.
NOT_OURS = "^/trials/"


def run(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Return what Schemathesis found, which keeps all that it keeps in ``folder``.

    As a program of its own: what it imports warns, and it brings its own plugins for pytest.
    """
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    return subprocess.run(
        [
            *(sys.executable, "-c", program, f"--config-file={SETTINGS}"),
            *("run", url, f"--exclude-path-regex={NOT_OURS}", "--checks=all", "--no-color"),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
    )


def test_api(tmp_path: Path, database: DbConfig) -> None:
    """Every answer of the API is one that is documented, and none is a fault of the server's."""
    (tmp_path / "server").mkdir()
    with ServerProcess(tmp_path / "server", database_environ(database), trials=True) as server:
        documented = server.get("/openapi.json").json["paths"]
        found = run(tmp_path, f"http://{HOST}:{server.port}/openapi.json")
        exit_code = server.stop()
    assert found.returncode == 0, found.stdout + found.stderr
    tested = re.search(r"Tested: (\d+)", found.stdout)
    assert tested is not None, found.stdout
    ours = [path for path in documented if not re.match(NOT_OURS, path)]
    assert int(tested[1]) == sum(len(documented[path]) for path in ours)
    faults = [line for line in server.lines if line["level"] in ("error", "critical")]
    assert (exit_code, faults, server.errors) == (0, [], [])
