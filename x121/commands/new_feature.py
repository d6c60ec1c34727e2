"""``x121 new-feature``."""

from __future__ import annotations

import getopt
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from twisted.python import usage

from x121.commands.base import BaseOptions, say
from x121.commands.scaffold import Names, new_feature

__all__ = ["NewFeature"]


class NewFeature(BaseOptions):
    """``x121 new-feature``: write a feature, in the pattern of another one."""

    synopsis = "[options] NAME"
    longdesc = (
        "Writes the migration, models, repository, routes and tests of a feature such as notes, and"
        " its line in the routes, in the checkout that this is called in. The pattern is a feature"
        " that is there."
    )
    optParameters = [  # noqa: RUF012
        ["one", None, None, "What one of them is called, if not NAME without its last s"],
        ["like", None, "projects", "The feature that is the pattern"],
        ["like-one", None, None, "What one of those is called"],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Take options behind the name, too: Twisted would count them as further names."""
        try:
            found, names = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from None
        super().parseOptions([*(part for pair in found for part in pair if part), "--", *names])

    def parseArgs(self, *names: str) -> None:
        """Take the feature's name, in plural."""
        if len(names) != 1:
            text = f"new-feature needs one name, such as notes, and got {len(names)}"
            raise usage.UsageError(text)
        (self["name"],) = names

    def run(self) -> int:
        """Write the files; exit code 1 when there is something in the way."""
        names = Names.of(self["name"], self["one"])
        pattern = Names.of(self["like"], self["like-one"], option="--like-one")
        paths = new_feature(Path.cwd(), names, pattern)
        if find_spec("ruff"):  # names of another length want other line breaks
            python_files = [path for path in paths if path.endswith(".py")]
            command = [sys.executable, "-m", "ruff", "format", "--quiet", *python_files]
            subprocess.run(command, check=True)  # noqa: S603  # paths that were made here
        for path in paths:
            say(path)
        return 0
