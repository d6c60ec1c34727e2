"""``x121 migrate --redo``: a migration that is still being written is applied anew."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands.products import generate, x121

MIGRATION = "studio/migrations/0001_create_notes.sql"
X121 = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """Return the folder of a product."""
    return generate(tmp_path)


@pytest.fixture
def migrate(studio: Path) -> Iterator[X121]:
    """Return what runs ``x121 migrate`` there on an embedded database, which has been migrated."""
    with tempfile.TemporaryDirectory(prefix="x121-test-") as data:
        Path(data).chmod(0o755)  # PostgreSQL may run as somebody else

        def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
            variables = {"DB_DATA_DIR": f"{data}/postgres", "LOG_FORMAT": "json", **environ}
            return x121(studio, "migrate", *arguments, **variables)

        assert run().returncode == 0
        yield run


def edit(studio: Path) -> None:
    """Give the migration another column."""
    path = studio / MIGRATION
    path.write_text(path.read_text().replace("    created_at", "    colour TEXT,\n    created_at"))


def test_redo(studio: Path, migrate: X121) -> None:
    """An edited migration is reverted and applied again, but only if that is asked for twice."""
    edit(studio)
    refused = migrate()
    assert refused.returncode == 1
    assert "0001_create_notes.sql was edited" in refused.stderr
    assert "x121 migrate --redo" in refused.stderr

    asked = migrate("--redo")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "DROP TABLE notes;" in asked.stderr
    assert "x121 migrate --redo --yes" in asked.stderr
    assert "edited" in migrate("--status").stdout

    done = migrate("--redo", "--yes")
    assert done.returncode == 0, done.stderr
    assert "0001_create_notes.sql reverted" in done.stderr
    status = migrate("--status")
    assert (status.returncode, "edited" in status.stdout) == (0, False)


def test_last_one(studio: Path, migrate: X121) -> None:
    """It is the last one of the application that is reverted, not one of the framework."""
    assert x121(studio, "new-feature", "board", "title:text").returncode == 0
    assert migrate().returncode == 0
    asked = migrate("--redo")
    assert "this would revert 0002_create_boards.sql" in asked.stderr
    assert "DROP TABLE boards;" in asked.stderr


def test_wrong_statement(studio: Path, migrate: X121) -> None:
    """Where a statement fails nothing is reverted, and the file is named."""
    path = studio / MIGRATION
    path.write_text(path.read_text().replace("-- DROP TABLE notes;", "-- DROP TABLE nots;"))
    done = migrate("--redo", "--yes")
    assert done.returncode == 1
    assert "0001_create_notes.sql, below '-- x121: revert'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "edited" in migrate("--status").stdout


def test_nothing_to_revert_by(studio: Path, migrate: X121) -> None:
    """A file that doesn't say how to revert it is told of, with what to write."""
    path = studio / MIGRATION
    path.write_text(path.read_text().partition("-- x121: revert")[0])
    done = migrate("--redo", "--yes")
    assert done.returncode == 1
    assert "end it with the line '-- x121: revert'" in done.stderr


def test_other_database(studio: Path, migrate: X121) -> None:
    """A database that isn't the embedded one is left alone, and not even connected to."""
    done = migrate("--redo", "--yes", DB_HOST="192.0.2.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("x121: --redo is for the embedded PostgreSQL")
