"""``.env.example`` says of every variable what ``x121.config`` does."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from x121 import config

EXAMPLE = Path(__file__).parents[2] / ".env.example"
_ASSIGNMENT = re.compile(r"(# )?([A-Z][A-Z0-9_]*)=(\S*)")
_UNITS = {"_SECS": "seconds", "_BYTES": "bytes"}


class EnvExampleTests(SynchronousTestCase):
    """The file and the declarations can't drift apart."""

    def setUp(self) -> None:
        """Read the file: its assignments, and the comment above each."""
        self.values: dict[str, str] = {}
        self.commented_out: dict[str, str] = {}
        self.comments: dict[str, str] = {}
        comment: list[str] = []
        for line in EXAMPLE.read_text("utf-8").splitlines():
            if assignment := _ASSIGNMENT.fullmatch(line):
                off, name, value = assignment.groups()
                (self.commented_out if off else self.values)[name] = value
                self.comments[name] = " ".join(comment)
            elif line.startswith("#"):
                comment.append(line[1:].strip())
            else:
                self.assertEqual(line, "", "neither a comment nor NAME=value")
                comment = []

    def test_names(self) -> None:
        """Every variable stands in the file once, and nothing else does."""
        names = [*self.values, *self.commented_out]
        self.assertEqual(sorted(names), sorted(variable.name for variable in config.variables()))
        lines = EXAMPLE.read_text("utf-8").splitlines()
        self.assertEqual(len(names), len([line for line in lines if _ASSIGNMENT.fullmatch(line)]))

    def test_values_are_the_defaults(self) -> None:
        """The value of every variable in the file is the text of its default."""
        defaults = {variable.name: variable.default for variable in config.variables()}
        expected = {name: defaults[name] for name in self.values}
        self.assertEqual(self.values, expected)

    def test_secrets_are_placeholders(self) -> None:
        """Secret variables, and no others, are commented out with a placeholder."""
        secret = [variable.name for variable in config.variables() if variable.secret]
        self.assertEqual(list(self.commented_out), secret)
        for value in self.commented_out.values():
            self.assertTrue(value.startswith("your-"), value)

    def test_comments(self) -> None:
        """Every variable has a comment above it, which is a sentence and names its unit."""
        for name, comment in self.comments.items():
            self.assertRegex(comment, r"^\w.{20,}\.$", name)
            for suffix, unit in _UNITS.items():
                if name.endswith(suffix):
                    self.assertIn(unit, comment, name)

    def test_copy_gives_the_defaults(self) -> None:
        """A copy of the file as ``.env`` configures exactly what no file at all does."""
        copied = config.load({}, str(EXAMPLE))
        self.assertEqual(copied.config, config.load({}, "/dev/null").config)
        self.assertEqual(copied.warnings, ())
