"""``x121 new-feature``: what it writes works at once; it writes all of it or nothing.

The names here are such as no feature of a product has, so that these tests pass beside any.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from x121.commands.scaffold import Names, ScaffoldError, new_feature

ROOT = Path(__file__).parents[2]
PATTERN = Names("projects", "project")

CLI = "from x121.commands.cli import main; main()"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of the project to write in."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache")
    for name in ("x121", "migrations", "tests", "twisted"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout, with its x121."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def x121(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(checkout, "-c", CLI, *arguments)


def state_of(checkout: Path) -> dict[str, bytes]:
    """Return every file, but for what Python keeps."""
    files = (path for path in checkout.rglob("*") if path.is_file())
    return {str(path.relative_to(checkout)): path.read_bytes() for path in files}


def last_migration(checkout: Path) -> int:
    """Return the number of the last migration that is there, of whichever feature."""
    return max(int(path.name[:4]) for path in checkout.glob("migrations/*.sql"))


def test_new_feature(checkout: Path) -> None:
    """A new feature is served, its tests pass, and it is in good style, as it was written."""
    last = last_migration(checkout)
    done = x121(checkout, "new-feature", "guinea_pigs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [
        "x121/models/guinea_pigs.py",
        "x121/repositories/guinea_pigs.py",
        "x121/api/guinea_pigs.py",
        "tests/web/test_guinea_pigs.py",
        f"migrations/{last + 1:04d}_create_guinea_pigs.sql",
        "x121/api/routes.py",
    ]
    routes = x121(checkout, "routes").stdout
    assert "/api/v1/guinea_pigs/<int:guinea_pig_id>" in routes
    assert "GuineaPigs.create" in routes
    tested = run(
        checkout, "-m", "pytest", "tests/web/test_guinea_pigs.py", "tests/test_structure.py"
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    for check in (["check"], ["format", "--check"]):
        styled = run(checkout, "-m", "ruff", *check, ".")
        assert styled.returncode == 0, styled.stdout
    text = (checkout / "x121/api/guinea_pigs.py").read_text()
    assert "project" not in text.lower()
    assert '"""Create a guinea pig."""' in text


@pytest.mark.parametrize("name", ["cat_combs", "api_goats", "zebus"])
def test_order(checkout: Path, name: str) -> None:
    """Whatever a feature is called, its imports and exports are in the order that ruff likes."""
    new_feature(checkout, Names.of(name), PATTERN)
    run(checkout, "-m", "ruff", "format", ".")
    styled = run(checkout, "-m", "ruff", "check", ".")
    assert styled.returncode == 0, styled.stdout


def test_options_behind_the_name(checkout: Path) -> None:
    """Options may stand before and behind the name."""
    done = x121(checkout, "new-feature", "--one=goose", "geese", "--like", "projects")
    assert (done.returncode, done.stderr) == (0, "")
    done = x121(checkout, "new-feature", "mice", "--one", "mouse", "--like", "geese")
    assert done.returncode == 1
    assert done.stderr == "x121: what is one of the geese called? Say it with --like-one\n"


@pytest.mark.parametrize("arguments", [(), ("marmots", "geese")])
def test_one_name(checkout: Path, arguments: tuple[str, ...]) -> None:
    """Where there isn't one name, the command says that it needs one."""
    done = x121(checkout, "new-feature", *arguments)
    assert done.returncode == 1
    told = f"x121: new-feature needs one name, such as notes, and got {len(arguments)}\n"
    assert done.stderr.startswith(told)


def test_two_features(checkout: Path) -> None:
    """Features follow one another, also in the pattern of one that was made so."""
    last = last_migration(checkout)
    new_feature(checkout, Names.of("marmots"), PATTERN)
    new_feature(checkout, Names.of("geese", "goose"), Names.of("marmots"))
    routes = (checkout / "x121/api/routes.py").read_text()
    assert routes.index('nest("/projects"') < routes.index('nest("/marmots"')
    assert routes.index('nest("/marmots"') < routes.index('nest("/geese"')
    assert (checkout / f"migrations/{last + 2:04d}_create_geese.sql").exists()
    assert "class NewGoose(Model)" in (checkout / "x121/models/geese.py").read_text()


@pytest.mark.parametrize(
    "path",
    [
        "x121/api/marmots.py",
        "x121/models/marmots.py",
        "tests/web/test_marmots.py",
        "migrations/0007_create_marmots.sql",
    ],
)
def test_already_there(checkout: Path, path: str) -> None:
    """Where a file of the feature is there already, nothing is written."""
    (checkout / path).write_text("mine")
    before = state_of(checkout)
    with pytest.raises(ScaffoldError, match="marmots"):
        new_feature(checkout, Names.of("marmots"), PATTERN)
    assert state_of(checkout) == before


def test_no_pattern(checkout: Path) -> None:
    """Where the pattern isn't whole, what is missing is told, and nothing is written."""
    with pytest.raises(ScaffoldError, match=r"x121/models/dogs\.py is missing"):
        new_feature(checkout, Names.of("marmots"), Names.of("dogs"))
    (checkout / "x121/api/projects.py").unlink()
    before = state_of(checkout)
    with pytest.raises(ScaffoldError, match=r"x121/api/projects\.py is missing"):
        new_feature(checkout, Names.of("marmots"), PATTERN)
    assert state_of(checkout) == before


def test_elsewhere(tmp_path: Path) -> None:
    """Outside of a checkout the command says where it belongs, on one line, and ends with 1."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            CLI,
            "new-feature",
            "marmots",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("x121: x121/models/projects.py is missing: this is for the top")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["", "Notes", "notes-s", "1notes", "_notes", "notes_", "a__bs", "../notes", "n" * 41 + "s"],
)
def test_wrong_names(name: str) -> None:
    """What can't be a module, a table and a path is no name."""
    with pytest.raises(ScaffoldError):
        Names.of(name, "one")


def test_names() -> None:
    """What one of them is called is guessed where it can be."""
    assert Names.of("notes") == Names("notes", "note")
    assert Names.of("people", "person") == Names("people", "person")
    for many, one in (("people", None), ("class", None), ("sheep", "sheep"), ("passs", None)):
        with pytest.raises(ScaffoldError):
            Names.of(many, one)
