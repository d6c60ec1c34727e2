"""What is built from the tree, and that it works where only that is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PathDistribution
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOT_SOURCE = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".venv*", "__pycache__", "*.egg-info", "build", "dist", "var"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source archive, and a wheel that was built from that."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    # Without isolation: nothing is installed for it, and no network is needed.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"),
            *("--outdir", str(folder), str(folder / "source")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """Return a folder with what the wheel holds."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "installed")
    return built / "installed"


def python(code: str, *arguments: str, installed: Path) -> str:
    """Return what ``code`` prints where this tree can't be seen, and the wheel's content can."""
    without_tree = f"import sys; sys.path = [p for p in sys.path if p not in ('', {str(ROOT)!r})]"
    done = subprocess.run(
        [sys.executable, "-c", f"{without_tree}\n{code}", *arguments],
        cwd=installed.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_below(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob(pattern)}


def test_modules(installed: Path) -> None:
    """Every module of the tree is in the wheel, and no other."""
    assert names_below(installed / "x121", "*.py") - {"app/migrations/__init__.py"} == names_below(
        ROOT / "x121", "*.py"
    )


DATA = ("x121/**/*.css", "x121/**/static/*", "x121/**/*.sql")


def test_data(installed: Path) -> None:
    """The wheel has the migrations and the pages' files, as they are, and the marker of types."""
    for path in (ROOT / "migrations").glob("*.sql"):
        assert (installed / "x121/app/migrations" / path.name).read_bytes() == path.read_bytes()
    for path in chain.from_iterable(map(ROOT.glob, DATA)):
        assert (installed / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert (installed / "x121/py.typed").exists()


def test_nothing_of_others(installed: Path) -> None:
    """The wheel adds one plugin to Twisted's package and otherwise only what is called x121."""
    assert names_below(installed / "twisted", "*.*") == {"plugins/x121_plugin.py"}
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"x121", "twisted"}


# --- what it requires ---------------------------------------------------------------------

LOCK = (ROOT / "deploy/requirements.lock").read_text("utf-8")
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", LOCK, re.MULTILINE))


def requirements(installed: Path) -> list[Requirement]:
    """Return what a deployment requires: the wheel, and its extra "fast"."""
    (metadata,) = installed.glob("*.dist-info")
    found = map(Requirement, PathDistribution(metadata).requires or ())
    return [
        one
        for one in found
        if one.marker is None
        or any(one.marker.evaluate({"extra": extra}) for extra in ("", "fast"))
    ]


def test_upper_bounds(installed: Path) -> None:
    """A package has an upper bound, except where only what it documents is used."""
    unbounded = {one.name for one in requirements(installed) if "<" not in str(one.specifier)}
    assert unbounded == {"treq", "typing-extensions", "orjson"}


def test_lock_satisfies_setup(installed: Path) -> None:
    """The lock has all that is required, in a version that is allowed."""
    wrong = [
        str(one)
        for one in requirements(installed)
        if not one.specifier.contains(PINS.get(one.name, "0"))
    ]
    assert wrong == [], "run `make lock`"


def test_lock_is_hashed() -> None:
    """Every package of the lock has its hashes, and none is bound to a place to get it from."""
    blocks = re.split(r"\n(?=[\w-]+==)", LOCK)[1:]
    assert len(blocks) == len(PINS) > 0
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"https?:|--index|--find-links|--trusted| @ ", LOCK)


def test_lock_is_made_with_the_oldest_python() -> None:
    """It is made with the oldest Python that is supported: newer ones need no more."""
    (oldest,) = re.findall(r'python_requires=">=([\d.]+)"', (ROOT / "setup.py").read_text("utf-8"))
    assert f"with Python {oldest}\n" in LOCK


def test_source_archive(built: Path) -> None:
    """The source archive has what its tests and its users need besides the code."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    tests = {f"tests/{name}" for name in names_below(ROOT / "tests", "*.py")}
    others = {"Makefile", ".env.example", "deploy/x121.service", "deploy/requirements.lock"}
    others |= {"twisted/plugins/x121_plugin.py"}
    assert names >= tests | others


def test_twistd_finds_the_plugin(installed: Path) -> None:
    """``twistd --help`` lists x121 where only the wheel's content is on the path."""
    run = "from twisted.scripts.twistd import run; run()"
    output = python(run, "--help", installed=installed)
    assert any(line.split()[:1] == ["x121"] for line in output.splitlines())


def test_migrations_are_found(installed: Path) -> None:
    """The installed package reads the migrations that came with it."""
    code = (
        "import x121; from x121.app import application;"
        "print(x121.__file__, *(m.file_name for m in application.read_migrations()), sep='\\n')"
    )
    home, *names = python(code, installed=installed).split()
    assert Path(home).parent == installed / "x121"
    own = sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
    framework = sorted(path.name for path in (ROOT / "x121/db/migrations/sql").glob("*.sql"))
    assert names == [*(f"x121/{name}" for name in framework), *own]
