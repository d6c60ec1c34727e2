"""The systemd unit, as far as it can be checked without installing it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from x121.config import load

UNIT = Path(__file__).parents[1] / "deploy/x121.service"

systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


def setting(name: str) -> str:
    """Return the one value of ``name`` in the unit."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that exists on this machine."""
    text = UNIT.read_text().replace(setting("ExecStart").split()[0], sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


@systemd_analyze
def test_verify(unit: Path) -> None:
    """systemd finds nothing to complain of."""
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@systemd_analyze
def test_exposure(unit: Path) -> None:
    """systemd rates what the service may do to its machine as little: below 2 of 10."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_time_to_stop() -> None:
    """systemd waits for longer than the server may take, before it kills."""
    assert float(setting("TimeoutStopSec")) > load({}).config.server.shutdown_timeout_secs
    assert float(setting("TimeoutStartSec")) > load({}).config.db.connect_timeout_secs


def test_start_limit() -> None:
    """A start that waits for a database is repeated for ever; one that fails at once is not."""
    interval, burst = float(setting("StartLimitIntervalSec")), int(setting("StartLimitBurst"))
    pause = float(setting("RestartSec"))
    waits, fails = load({}).config.db.connect_timeout_secs, 4.0  # on a slow machine
    assert burst * (waits + pause) > interval > burst * (fails + pause)


def test_bounds() -> None:
    """The service can't take the machine's memory or processes, and leaves no core dump."""
    assert setting("LimitCORE") == "0"
    assert setting("MemoryMax") != "infinity"
    assert int(setting("TasksMax")) > 100 + load({}).config.db.pool_max
    assert setting("ExecReload").endswith("kill -USR1 $MAINPID")


def test_start() -> None:
    """The unit starts what the server notifies from, and lets PostgreSQL be stopped by it."""
    assert setting("ExecStart").endswith("/twistd -n --pidfile= x121")
    assert (setting("Type"), setting("NotifyAccess")) == ("notify", "main")
    assert setting("KillMode") == "mixed"
