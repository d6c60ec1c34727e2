"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.process.server import ROOT, database_environ
from x121.config import DbConfig, variables
from x121.testing.postgres import Postgres

FIRST = "x121/0001_set_updated_at.sql"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the lines that it wrote."""

    code: int
    output: list[str]
    errors: list[str]


def x121(*arguments: str, environ: Mapping[str, str], folder: Path) -> Ended:
    """Run ``x121`` in ``folder`` with no more than ``environ`` in its environment."""
    with start_x121(*arguments, environ=environ, folder=folder) as process:
        output, errors = process.communicate(timeout=60)
    return Ended(process.returncode, output.splitlines(), errors.splitlines())


def start_x121(*arguments: str, environ: Mapping[str, str], folder: Path) -> subprocess.Popen[str]:
    """Start ``x121``, as :func:`x121` does."""
    return subprocess.Popen(
        [sys.executable, "-c", "from x121.commands.cli import main; main()", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json"}
        | dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- x121 check ---------------------------------------------------------------------------


def test_check(tmp_path: Path) -> None:
    """``check`` prints every variable with its value and its source, in order."""
    (tmp_path / ".env").write_text("DB_POOL_MAX=7\nSERVER_PORT=4000\n")
    ended = x121("check", environ={"SERVER_PORT": "5000"}, folder=tmp_path)
    assert (ended.code, ended.errors) == (0, [])
    assert [line.split()[0] for line in ended.output] == [v.name for v in variables()]
    rows = {line.split()[0]: line.split()[1:] for line in ended.output}
    assert rows["SERVER_PORT"] == ["5000", "environment"]
    assert rows["DB_POOL_MAX"] == ["7", ".env"]
    assert rows["DB_POOL_MIN"] == ["2", "default"]
    assert rows["DB_HOST"] == ["(empty)", "default"]


def test_check_hides_secrets(tmp_path: Path) -> None:
    """``check`` says that a password is set, and not which."""
    ended = x121("check", environ={"DB_PASSWORD": "hunter2"}, folder=tmp_path)
    (row,) = (line.split() for line in ended.output if line.startswith("DB_PASSWORD"))
    assert row[1:] == ["(hidden)", "environment"]


def test_check_warns(tmp_path: Path) -> None:
    """``check`` prints the warnings that the server would log."""
    (tmp_path / "other").write_text("WS_HEARTBEAT_INTERVAL=5\n")
    ended = x121("check", "--env-file=other", environ={}, folder=tmp_path)
    assert ended.code == 0
    assert "WS_HEARTBEAT_INTERVAL " in ended.output[-1]
    assert ended.output[-1].startswith("warning: ")


def test_check_of_wrong_values(tmp_path: Path) -> None:
    """``check`` lists everything that is wrong on standard error and exits with 1."""
    wrong = {"SERVER_PORT": "70000", "DB_SSL": "perhaps", "DB_PASSWORD": "hunter2"}
    ended = x121("check", environ=wrong, folder=tmp_path)
    assert ended.code == 1
    assert ended.errors[0] == "x121: wrong configuration:"
    assert sorted(line.split("=")[0].strip() for line in ended.errors[1:]) == [
        "DB_SSL",
        "SERVER_PORT",
    ]
    assert "hunter2" not in "".join(ended.output + ended.errors)


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("check", "--nonsense")])
def test_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A command that there isn't ends with 1 and says how to use the program."""
    ended = x121(*arguments, environ={}, folder=tmp_path)
    assert ended.code == 1
    assert ended.errors[0].startswith("x121: ")
    assert any(line.startswith("Usage: ") for line in ended.errors)


def test_help(tmp_path: Path) -> None:
    """``--help`` prints the commands on standard output and exits with 0."""
    ended = x121("--help", environ={}, folder=tmp_path)
    assert (ended.code, ended.errors) == (0, [])
    assert any(line.strip().startswith("migrate ") for line in ended.output)


@pytest.mark.parametrize("command", [(), ("check",), ("new-feature",)])
def test_version(tmp_path: Path, command: tuple[str, ...]) -> None:
    """``--version`` is that of x121, whichever command it is asked of."""
    ended = x121(*command, "--version", environ={}, folder=tmp_path)
    assert (ended.code, ended.output) == (0, [f"x121 {version('x121')}"])


# --- x121 routes --------------------------------------------------------------------------


def test_routes(tmp_path: Path) -> None:
    """``routes`` prints the wrappers in their order, and each route with its types."""
    ended = x121("routes", environ={}, folder=tmp_path)
    assert (ended.code, ended.errors) == (0, [])
    order = "RequestId > AccessLog > Cors > Errors > CrossSite > BodyLimit > Timeout"
    assert ended.output[0] == f"Every request passes {order}, then its handler."
    rows = [line.split() for line in ended.output[2:]]
    assert rows[0] == ["METHOD", "PATH", "HANDLER", "TYPES"]
    create = "POST /api/v1/projects Projects.create new: NewProject -> 201 Project"
    assert create in [" ".join(row) for row in rows]
    assert ["GET", "/health", "Health.health"] in [row[:3] for row in rows]
    assert [row[1] for row in rows[1:]] == sorted(row[1] for row in rows[1:])


# --- x121 migrate -------------------------------------------------------------------------


@pytest.fixture(params=["embedded", "server"])
def environ(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Return what names an empty database, in either PostgreSQL."""
    if request.param == "server":
        yield database_environ(request.getfixturevalue("empty_database"))
        return
    with tempfile.TemporaryDirectory(prefix="x121-test-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as somebody else
        yield {"DB_DATA_DIR": f"{folder}/postgres"}


def test_migrate(tmp_path: Path, environ: dict[str, str]) -> None:
    """``--status`` and ``--dry-run`` change nothing; ``migrate`` applies what is pending."""
    for flag in ("--status", "--dry-run"):
        ended = x121("migrate", flag, environ=environ, folder=tmp_path)
        assert (ended.code, ended.output[0].split()) == (0, [FIRST, "pending"])
    ended = x121("migrate", environ=environ, folder=tmp_path)
    assert (ended.code, ended.output) == (0, [])
    assert any(f"{FIRST} applied" in line for line in ended.errors)
    ended = x121("migrate", "--status", environ=environ, folder=tmp_path)
    assert (ended.code, ended.output[0].split()[:2]) == (0, [FIRST, "applied"])
    ended = x121("migrate", "--dry-run", environ=environ, folder=tmp_path)
    assert (ended.code, ended.output) == (0, ["nothing to apply"])


@pytest.mark.parametrize(
    ("change", "file_name", "state"),
    [
        ("UPDATE x121_migrations SET checksum = 'x' WHERE version = 1", FIRST, "edited"),
        (
            "INSERT INTO x121_migrations VALUES ('application', 9999, 'x', 'x', now(), '1 s')",
            "9999_x.sql",
            "missing",
        ),
    ],
    ids=["edited", "missing"],
)
def test_wrong_migrations(
    tmp_path: Path,
    database: DbConfig,
    postgres: Postgres,
    change: str,
    file_name: str,
    state: str,
) -> None:
    """A migration that was edited or is missing is told of, and the exit code is 1."""
    environ = database_environ(database)
    assert x121("migrate", environ=environ, folder=tmp_path).code == 0
    postgres.query(change, database.name)
    ended = x121("migrate", environ=environ, folder=tmp_path)
    assert ended.code == 1
    assert file_name in ended.errors[-1]
    ended = x121("migrate", "--status", environ=environ, folder=tmp_path)
    assert ended.code == 1
    assert [file_name, state] in [line.split()[:2] for line in ended.output]
    ended = x121("migrate", "--dry-run", environ=environ, folder=tmp_path)
    assert ended.code == 1


def test_unreachable_database(tmp_path: Path) -> None:
    """A database that does not answer is told of in one line, and the exit code is 1."""
    environ = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_CONNECT_TIMEOUT_SECS": "0.3"}
    ended = x121("migrate", environ=environ, folder=tmp_path)
    assert (ended.code, ended.output) == (1, [])
    assert ended.errors[-1].startswith("x121: ")
    assert "127.0.0.1" in ended.errors[-1]
    assert "Traceback" not in "".join(ended.errors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGALRM])
def test_interrupted_migrate(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends ``migrate`` with 1, and leaves no PostgreSQL behind."""
    tmp_path.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="x121-test-") as folder:
        Path(folder).chmod(0o755)
        environ = {"DB_DATA_DIR": f"{folder}/postgres"}
        with start_x121("migrate", environ=environ, folder=tmp_path) as process:
            assert process.stderr is not None
            assert any("PostgreSQL accepts connections" in line for line in process.stderr)
            process.send_signal(number)
            rest = process.stderr.readlines()
            assert process.wait(60) == 1
        assert "x121: interrupted" in rest[-1]
        assert not Path(folder, "postgres/postmaster.pid").exists()
