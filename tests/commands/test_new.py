"""``x121 new``: a product that works as it is written, with features of every kind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.products import ROOT, files_in, generate, run, x121
from tests.process.server import Answer, ServerProcess

EVERY_TYPE = (
    "a_text:text b_int:int c_float:float d_bool:bool date:date time:time g_uuid:uuid h_json:json"
    " i_choice:one|two_three a2:text? b2:int? c2:float? d2:bool? e2:date? f2:time? g2:uuid?"
    " h2:json? i2:one|two?"
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a product with several features; tests only read it."""
    folder = generate(tmp_path_factory.mktemp("products"))
    for arguments in (
        ["board", "title:text", "owner:text?"],
        ["card", "title:text", "state:open|done", "due:date?", "board:ref", "--in",
         "/boards/<int:board_id>"],
        ["watch", "--many=watches", "card:ref", "note:ref?", "reason:text"],
        ["remark", "watch:ref", "--in=/remarks/of/<int:watch_id>", "n:int"],
        ["every_type", *EVERY_TYPE.split()],
        ["rather_long_name_of_an_item", "another_long_name_of_a_field:text",
         "every_type:ref", "card:ref?", "yet_another_long_name_of_one:one|another-choice"],
    ):  # fmt: skip
        done = x121(folder, "new-feature", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_tests_pass(studio: Path) -> None:
    """The tests that are generated pass, on a PostgreSQL of their own."""
    done = run(studio, "-m", "pytest", "-p", "no:randomly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    "check", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)]
)
def test_style_and_types(studio: Path, check: tuple[str, ...]) -> None:
    """What is generated is in good style and fully typed, as it was written."""
    done = run(studio, "-m", *check)
    assert done.returncode == 0, done.stdout + done.stderr


def test_application_is_found(studio: Path) -> None:
    """The commands find the product's application without any variable."""
    routes = x121(studio, "routes").stdout
    assert "/api/v1/boards/<int:board_id>/cards/<int:card_id>" in routes
    assert "Notes.create" in routes
    rows = {line.split()[0]: line.split()[1:] for line in x121(studio, "check").stdout.splitlines()}
    assert rows["DB_NAME"] == ["studio", "default"]
    assert rows["STUDIO_PUBLIC_URL"] == ["http://localhost:3000", "default"]


def test_env_example(studio: Path) -> None:
    """``.env.example`` has defaults, and nothing that there isn't."""
    done = x121(studio, "check", "--env-file=.env.example")
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning" not in done.stdout
    for line in (studio / ".env.example").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            row = next(row for row in done.stdout.splitlines() if row.startswith(f"{name} "))
            assert row.split()[1] == (value or "(empty)")


@pytest.fixture
def server(studio: Path) -> Iterator[ServerProcess]:
    """Run ``twistd -n studio`` beside an ``X121_APP`` that names another application."""
    with tempfile.TemporaryDirectory(prefix="x121-test-") as data:
        Path(data).chmod(0o755)  # PostgreSQL may run as somebody else
        environ = {
            "PYTHONPATH": str(ROOT),
            "X121_APP": "x121.app:application",
            "DB_DATA_DIR": f"{data}/postgres",
        }
        with ServerProcess(studio, environ, name="studio") as process:
            yield process


def test_twistd(server: ServerProcess) -> None:
    """``twistd studio`` serves the product, and stops in order."""
    connection = server.connect()
    note = json.dumps({"title": "milk"})
    connection.request("POST", "/api/v1/notes", note, {"Content-Type": "application/json"})
    created = Answer.read(connection)
    assert created.status == 201
    assert server.get("/api/v1/notes").json["items"] == [created.json]
    assert server.get("/api/v1/projects").status == 404
    assert server.stop() == 0


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Studio", "expected a lower-case letter"),
        ("my-shop", "expected a lower-case letter"),
        ("../x", "expected a lower-case letter"),
        ("class", "expected a lower-case letter"),
        ("x121", "choose another one"),
        ("json", "choose another one"),
        ("klein", "choose another one"),
        ("tests", "choose another one"),
    ],
)
def test_wrong_name(tmp_path: Path, name: str, message: str) -> None:
    """A name that can't be a package's, or is one's already, is refused, and nothing written."""
    done = x121(tmp_path, "new", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"x121: invalid name {name!r}: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_folder_is_there(tmp_path: Path) -> None:
    """What is there already is left alone."""
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio/mine.txt").write_text("mine")
    done = x121(tmp_path, "new", "studio")
    assert done.returncode == 1
    assert done.stderr == f"x121: {tmp_path / 'studio'} exists already, so nothing was written\n"
    assert files_in(tmp_path) == {"studio/mine.txt": b"mine"}


def test_another_name(tmp_path: Path) -> None:
    """The product's name is everywhere where the skeleton's was."""
    folder = generate(tmp_path, "my_shop")
    content = files_in(folder)
    assert [path for path in content if "studio" in path.lower()] == []
    assert [path for path, data in content.items() if b"studio" in data.lower()] == []
    assert "twisted/plugins/my_shop_plugin.py" in content
    assert (folder / ".ci/run").stat().st_mode & 0o111
    assert b'title="My Shop"' in content["my_shop/__init__.py"]
