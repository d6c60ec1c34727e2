"""What a product has in common with this project stays the same."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.commands.products import ROOT

SKELETON = ROOT / "x121/commands/skeleton"


def test_unit() -> None:
    """The systemd unit of a product is this project's, under another name."""
    ours = (ROOT / "deploy/x121.service").read_text()
    theirs = (SKELETON / "deploy/studio.service.txt").read_text()
    assert theirs.partition("[Unit]")[2].lower() == (
        ours.partition("[Unit]")[2].lower().replace("x121", "studio")
    )


def test_rules() -> None:
    """A product is held to the same rules of style."""

    def ruff(path: str) -> Any:
        return tomllib.loads((ROOT / path).read_text())["tool"]["ruff"]

    ours, theirs = ruff("pyproject.toml"), ruff("x121/commands/skeleton/pyproject.toml.txt")
    assert theirs["lint"]["select"] == ours["lint"]["select"]
    assert theirs["line-length"] == ours["line-length"]


def test_ignored() -> None:
    """What git ignores here it ignores in a product, as far as there is such a thing."""
    ours = (ROOT / ".gitignore").read_text().splitlines()
    theirs = (SKELETON / "dot-gitignore.txt").read_text().splitlines()
    assert set(theirs) - set(ours) <= {"/.venv/"}
