"""Command ``x121 check``."""

from __future__ import annotations

from x121.commands.base import Command, say

__all__ = ["Check"]


class Check(Command):
    """Prints the configuration in force: ``x121 check``."""

    longdesc = "Prints every variable, its value (secrets hidden) and its source."

    def run(self) -> int:
        """Print the table; return 1 if something is wrong."""
        _, loaded = self.load()
        for setting in loaded.settings:
            say(f"{setting.name:28}{setting.display_value or '(empty)':32}{setting.source}")
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        return 0
