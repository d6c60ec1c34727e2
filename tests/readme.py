"""The README, and the files that it shows."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["README", "block"]

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def block(path: str) -> str:
    """Return the README's code block whose first line names ``path``."""
    match = re.search(rf"```\w+\n(?:#|--|//) {re.escape(path)}\n(.*?)```", README, re.DOTALL)
    assert match is not None, f"the README has no block for {path}"
    return match[1]
