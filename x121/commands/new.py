"""Command ``x121 new``."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from twisted.python import usage

from x121.commands.base import BaseOptions, say
from x121.commands.feature_files import FeatureSpec
from x121.commands.fields import parse_fields
from x121.commands.generate import plan_feature
from x121.commands.names import GenerationError, Names
from x121.commands.product import Product

__all__ = ["New"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FOLDERS = ("build", "deploy", "dist", "tests", "twisted", "var")
_EXECUTABLE = ".ci/run"


class New(BaseOptions):
    """Writes a product: ``x121 new``."""

    synopsis = "NAME"
    longdesc = (
        "Writes a product in a new folder NAME: a package with an application and one feature,"
        " migrations, tests, a Makefile, a systemd unit, a Dockerfile and a script for CI."
    )

    def parseArgs(self, *names: str) -> None:
        """Take the product's name."""
        if len(names) != 1:
            raise usage.UsageError("expected one name: x121 new studio")
        (self["name"],) = names

    def run(self) -> int:
        """Write the files and print the next step."""
        name = self["name"]
        _check_name(name)
        root = Path.cwd() / name
        if root.exists():
            raise GenerationError(f"{root} exists already, so nothing was written")
        skeleton = _render_skeleton(name)
        product = Product(
            root=root,
            package=name,
            module=Path(name, "__init__.py"),
            application="application",
            migrations=Path(name, "migrations"),
            tests=Path("tests"),
        )
        spec = FeatureSpec(Names.of("note"), parse_fields(["title:text"]))
        plan = plan_feature(spec, product, skeleton[product.module], {})
        for path, text in skeleton.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        plan.write()
        (root / _EXECUTABLE).chmod(0o755)
        say(f"{name}/ has {len(skeleton) + len(plan.new)} files.  Next: cd {name} && make run")
        return 0


def _check_name(name: str) -> None:
    """Raise :class:`GenerationError` if ``name`` is not possible for a new package."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise GenerationError(
            f"invalid name {name!r}: expected a lower-case letter, then lower-case letters, digits"
            " or underscores, such as studio"
        )
    # If the folder exists, the message says so instead.
    is_taken = name in sys.stdlib_module_names or name in _FOLDERS
    if is_taken or (not Path(name).exists() and find_spec(name) is not None):
        raise GenerationError(
            f"invalid name {name!r}: another package or folder has this name; choose another one"
        )


def _render_skeleton(name: str) -> dict[Path, str]:
    """Return the texts of a product's files, without its feature, by their paths."""
    words = {
        "studio": name,
        "Studio": name.replace("_", " ").title(),
        "STUDIO": name.upper(),
        "X121_VERSION": version("x121"),
    }
    pattern = re.compile("|".join(words))

    def rename(text: str) -> str:
        return pattern.sub(lambda found: words[found[0]], text)

    skeleton = files("x121.commands") / "skeleton"
    return {
        Path(rename(path)): rename(file.read_text("utf-8")) for path, file in _walk(skeleton, "")
    }


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the skeleton's files, each with its path in a product.

    The path has no ``.txt``, which only keeps tools from treating a file as part of x121, and
    ``dot-`` becomes a dot, because packaging leaves hidden files out.
    """
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = re.sub("^dot-", ".", entry.name)
        if entry.is_dir():
            yield from _walk(entry, f"{path}{name}/")
        else:
            yield f"{path}{name.removesuffix('.txt')}", entry
