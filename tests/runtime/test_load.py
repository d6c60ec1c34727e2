"""The application that ``X121_APP`` names is found, or the message says why not."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from x121.application import Application
from x121.config import ConfigError
from x121.runtime.load import load_application, load_config

STUDIO = """
from dataclasses import dataclass

from x121.config import parsers
from x121.application import Application
from x121.config import setting


@dataclass(frozen=True)
class Settings:
    colour: str = setting("STUDIO_COLOUR", "red", parsers.one_of("red", "blue"), "a colour")


application = Application("studio", settings=Settings)
text = "not an application"
"""


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a module ``studio``, which can be imported."""
    (tmp_path / "studio.py").write_text(STUDIO)
    (tmp_path / "broken.py").write_text("import there_is_no_such_module")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "studio", raising=False)
    return tmp_path


def test_default() -> None:
    """Without ``X121_APP`` it is the one that comes along."""
    application = load_application({}, "/dev/null")
    assert (application.name, application.database) == ("x121", "trulience_x121")


def test_named(studio: Path) -> None:
    """An application is named by its module, and its own name there."""
    application, loaded = load_config({"X121_APP": "studio:application"})
    assert isinstance(application, Application)
    assert application.name == "studio"
    (settings,) = loaded.config.settings.values()
    assert settings.colour == "red"
    assert "STUDIO_COLOUR" in [setting.name for setting in loaded.settings]


def test_named_in_env_file(studio: Path) -> None:
    """``.env`` may name it, and hold its settings; unknown ones that look like its own are told."""
    (studio / ".env").write_text(
        "X121_APP=studio:application\nSTUDIO_COLOUR=blue\nSTUDIO_COLOR=red\n"
    )
    _, loaded = load_config({})
    (settings,) = loaded.config.settings.values()
    assert settings.colour == "blue"
    assert "did you mean STUDIO_COLOUR?" in loaded.warnings[0]


PYPROJECT = '[tool.x121]\napp = "studio:application"\n'


def test_named_in_pyproject(studio: Path) -> None:
    """A product's ``pyproject.toml`` names its application."""
    (studio / "pyproject.toml").write_text(PYPROJECT)
    application, loaded = load_config({}, "/dev/null")
    assert application.name == "studio"
    assert loaded.config.server.application == "studio:application"


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_pyproject_comes_last(studio: Path, place: str) -> None:
    """The environment and ``.env`` come before ``pyproject.toml``."""
    (studio / "pyproject.toml").write_text(PYPROJECT)
    environ = {}
    if place == "environment":
        environ["X121_APP"] = "x121.app:application"
    else:
        (studio / ".env").write_text("X121_APP=x121.app:application\n")
    assert load_application(environ).name == "x121"


@pytest.mark.parametrize("text", ["", "[tool]\n", "[tool.x121]\n", '[tool.x121]\napp = ""\n'])
def test_pyproject_without_application(studio: Path, text: str) -> None:
    """One that names none leaves the default."""
    (studio / "pyproject.toml").write_text(text)
    assert load_application({}).name == "x121"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.x121", "pyproject.toml: "),
        ("[tool]\nx121 = 1\n", "pyproject.toml: expected a string in [tool.x121]"),
        ("[tool.x121]\napp = 1\n", "pyproject.toml: expected a string in [tool.x121]"),
        ('[tool.x121]\napp = "nothing_here:application"\n', "there is no module nothing_here"),
        ('[tool.x121]\napp = "studio"\n', "a module and a name in it"),
    ],
)
def test_wrong_pyproject(studio: Path, text: str, message: str) -> None:
    """What is wrong in ``pyproject.toml`` is told in the one message, too."""
    (studio / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config({"SERVER_PORT": "x"})
    assert message in str(caught.value)
    assert "SERVER_PORT=x" in str(caught.value)


def test_version_of_what_is_not_installed(studio: Path) -> None:
    """An application that asks for a version that isn't there is not taken for a missing one."""
    (studio / "shop.py").write_text("from importlib.metadata import version\nversion('shop')\n")
    with pytest.raises(PackageNotFoundError):
        load_config({"X121_APP": "shop:application"})


def test_database(studio: Path) -> None:
    """The default name of the database is the application's."""
    environ = {"X121_APP": "studio:application"}
    assert load_config(environ)[1].config.db.name == "studio"
    assert load_config(environ | {"DB_NAME": "other"})[1].config.db.name == "other"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("studio", "a module and a name in it, such as studio:application"),
        ("studio:application()", "a module and a name in it"),
        ("nothing_here:application", "there is no module nothing_here"),
        ("studio.below:application", "there is no module studio.below"),
        ("studio:nothing", "expected an x121.Application named nothing, found nothing"),
        ("studio:text", "found a str"),
    ],
)
def test_wrong(studio: Path, path: str, message: str) -> None:
    """A wrong one is told in the one message that also has what else is wrong."""
    with pytest.raises(ConfigError) as caught:
        load_config({"X121_APP": path, "SERVER_PORT": "x"})
    assert message in str(caught.value)
    assert "SERVER_PORT=x" in str(caught.value)


def test_broken_module(studio: Path) -> None:
    """What is wrong within the application's own modules is not taken for a missing application."""
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        load_config({"X121_APP": "broken:application"})
