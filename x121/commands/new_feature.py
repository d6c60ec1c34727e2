"""Command ``x121 new-feature``."""

from __future__ import annotations

import getopt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.python import usage

from x121.commands.base import Command, idle_state, say
from x121.commands.feature_files import FeatureSpec
from x121.commands.fields import parse_fields
from x121.commands.generate import plan_feature
from x121.commands.names import Names
from x121.commands.parents import Parent, find_parents
from x121.commands.product import find_product

if TYPE_CHECKING:
    from x121.application import Application
    from x121.config import AppConfig

__all__ = ["NewFeature"]


class NewFeature(Command):
    """Writes a feature: ``x121 new-feature``."""

    synopsis = "[options] NAME FIELD:TYPE ..."
    longdesc = (
        "Writes a feature of things called NAME, such as card: models, SQL, routes, events, a"
        " migration and tests, and its line in the application. A TYPE is text, int, float, bool,"
        " date, time, uuid, json, choices such as 'open|done', or ref, for the id of a thing called"
        " FIELD of another feature; with ? behind it the field is optional."
    )
    optParameters = [  # noqa: RUF012
        *Command.optParameters,
        ["in", None, "", "The prefix of its routes, such as '/boards/<int:board_id>'"],
        ["many", None, "", "The plural of NAME, if it isn't NAME plus s"],
    ]
    optFlags = [["no-tests", None, "Write no tests"]]  # noqa: RUF012

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Accept options after the fields, too: Twisted would count them as further fields."""
        try:
            found, names = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from None
        super().parseOptions([*(part for pair in found for part in pair if part), "--", *names])

    def parseArgs(self, *arguments: str) -> None:
        """Take the name and the fields."""
        if len(arguments) < 2:
            raise usage.UsageError(
                "expected a name and fields: x121 new-feature card title:text 'state:open|done'"
            )
        self["name"], *self["fields"] = arguments

    def run(self) -> int:
        """Write the files and print their paths."""
        spec = FeatureSpec(
            Names.of(self["name"], self["many"]), parse_fields(self["fields"]), self["in"]
        )
        application, loaded = self.load()
        config = loaded.config
        product = find_product(
            Path.cwd().resolve(), config.server.application, application.migrations
        )
        plan = plan_feature(
            spec,
            product,
            (product.root / product.module).read_text("utf-8"),
            _parents(application, config) if any(field.parent for field in spec.fields) else {},
            has_tests=not self["no-tests"],
        )
        plan.check()
        for path in plan.write():
            say(str(path))
        return 0


def _parents(application: Application, config: AppConfig) -> Mapping[str, Parent]:
    """Return the features of the application that others may refer to."""
    state = idle_state(application, config)
    application.build(state)
    return find_parents(state.mounts)
