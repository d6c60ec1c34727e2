"""``x121 new-feature``: here, as in a product; it writes all of a feature, or nothing."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from tests.commands.products import ROOT, files_in, generate, run, x121
from tests.readme import README

CARD = ("new-feature", "card", "title:text", "board:ref", "--in=/boards/<int:board_id>")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a product with boards."""
    folder = generate(tmp_path_factory.mktemp("products"))
    done = x121(folder, "new-feature", "board", "title:text")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def studio(written: Path, tmp_path: Path) -> Path:
    """Return a copy of that product."""
    folder = tmp_path / "studio"
    shutil.copytree(written, folder)
    return folder


def test_files(studio: Path) -> None:
    """One folder, a migration and tests are written, and one line and its import added."""
    before = files_in(studio)
    done = x121(studio, *CARD)
    assert (done.returncode, done.stderr) == (0, "")
    after = files_in(studio)
    changed = [path for path in after if after[path] != before.get(path)]
    assert sorted(changed) == sorted(done.stdout.split())
    assert sorted(changed) == [
        "studio/__init__.py",
        "studio/cards/__init__.py",
        "studio/cards/events.py",
        "studio/cards/models.py",
        "studio/cards/queries.py",
        "studio/cards/routes.py",
        "studio/migrations/0003_create_cards.sql",
        "tests/test_cards.py",
    ]
    old = before["studio/__init__.py"].decode().splitlines()
    new = after["studio/__init__.py"].decode().splitlines()
    assert [line for line in new if line not in old] == [
        "from studio.cards.routes import Cards",
        'application.nest("/boards/<int:board_id>/cards", Cards)',
    ]
    assert [line for line in new if line in old] == old


def test_parent_in_the_path(studio: Path) -> None:
    """A field that comes from the path can't be sent, filters each query, and is the topic's."""
    assert x121(studio, *CARD).returncode == 0
    models = (studio / "studio/cards/models.py").read_text()
    assert models.count("board_id") == 1
    queries = (studio / "studio/cards/queries.py").read_text()
    selects = [line for line in queries.splitlines() if "WHERE" in line]
    assert len(selects) == 6
    assert all("board_id = %s" in line for line in selects if "FROM boards" not in line)
    assert '"boards/{board_id}/cards"' in (studio / "studio/cards/events.py").read_text()
    migration = (studio / "studio/migrations/0003_create_cards.sql").read_text()
    assert "CONSTRAINT fk_cards_board REFERENCES boards" in migration
    assert "ON cards (board_id, id)" in migration


def shown_in_the_readme() -> tuple[list[str], list[str]]:
    """Return the arguments of the command that the README shows, and the paths that it prints."""
    shown = README.split("$ .venv/bin/x121 new-feature ")[1].partition("$")[0]
    command, *paths = shown.splitlines()
    return ["new-feature", *shlex.split(command)], paths


def test_here(tmp_path: Path) -> None:
    """It works in a checkout of x121, as the README shows."""
    for name in ("bench", "migrations", "tests", "twisted", "x121"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.cache")
        )
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    command, paths = shown_in_the_readme()
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "from x121.commands.cli import main; main()"
    )
    done = run(tmp_path, "-c", program, *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == paths
    code = f"import sys, pytest; sys.path.insert(0, {str(tmp_path)!r}); sys.exit(pytest.main())"
    tested = run(
        tmp_path,
        "-c",
        code.replace("main()", "main(['tests/app/test_tasks.py', 'tests/test_structure.py'])"),
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    for check in (["check"], ["format", "--check"]):
        styled = run(tmp_path, "-m", "ruff", *check, ".")
        assert styled.returncode == 0, styled.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("card",), "expected a name and fields"),
        (("card", "title:string"), "expected as TYPE one of text, int,"),
        (("note", "title:text"), "a migration creates the table notes already"),
        (("card", "user:ref", "title:text"), "user:ref: no feature has a route /<int:user_id>;"),
        (("card", "user:ref", "title:text"), "; expected one of: note:ref, board:ref"),
        (("card", "title:text", "--in=/boards/<int:board_id>"), "expected one board:ref"),
        (("card", "board:ref?", "a:int", "--in=/boards/<int:board_id>"), "expected one board:ref"),
        (("card", "board:ref", "--in=/boards/<int:board_id>"), "no field is left for clients"),
        (("card", "board:ref", "a:int", "--in=boards"), "expected a path such as /boards/<int:"),
        (("card", "board:ref", "a:int", "--in=/boards/{board_id}"), "expected a path such as"),
        (("card", "board:ref", "note:ref", "a:int",
          "--in=/notes/<int:note_id>/boards/<int:board_id>"), "expected at most one parameter"),
    ],
)  # fmt: skip
def test_refused(studio: Path, arguments: tuple[str, ...], message: str) -> None:
    """Where something is wrong the message says what would be right, and nothing is written."""
    before = files_in(studio)
    done = x121(studio, "new-feature", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("x121: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert files_in(studio) == before


@pytest.mark.parametrize(
    "path",
    ["studio/cards/mine.py", "studio/cards.py", "studio/cards/models.py", "tests/test_cards.py"],
)
def test_already_there(studio: Path, path: str) -> None:
    """Where a file, the folder or a module of the feature is there already, nothing is written."""
    (studio / path).parent.mkdir(exist_ok=True)
    (studio / path).write_text("mine")
    before = files_in(studio)
    done = x121(studio, *CARD)
    assert done.returncode == 1
    assert done.stderr.endswith(": exists already, so nothing was written\n")
    assert files_in(studio) == before


def test_parent_without_example(studio: Path) -> None:
    """A parent that can't be created by an example is told of; without tests it is no matter."""
    routes = studio / "studio/boards/routes.py"
    routes.write_text(routes.read_text().replace('@router.post("/"', '@router.post("/new"'))
    done = x121(studio, *CARD)
    assert done.returncode == 1
    assert "the tests need a board" in done.stderr
    done = x121(studio, *CARD, "--no-tests")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (studio / "tests/test_cards.py").exists()


def test_elsewhere(tmp_path: Path) -> None:
    """Outside of a product the command says where it belongs."""
    done = x121(tmp_path, "new-feature", "card", "title:text")
    assert (done.returncode, done.stdout) == (1, "")
    expected = f"x121.app:application is not in {tmp_path}: expected the top folder of a product"
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == []
