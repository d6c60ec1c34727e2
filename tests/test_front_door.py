"""``from x121 import ...``: everything that a feature needs, and nothing before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import x121


@pytest.mark.parametrize("name", x121.__all__)
def test_name(name: str) -> None:
    """Every name is there, and the same each time."""
    assert getattr(x121, name) is getattr(x121, name)


def test_unknown_name() -> None:
    """Any other name is an AttributeError, as with every module."""
    with pytest.raises(AttributeError, match="module 'x121' has no attribute 'nothing'"):
        getattr(x121, "nothing")  # noqa: B009


@pytest.mark.parametrize("statement", ["import x121", "from x121 import Model, Text, setting"])
def test_no_reactor(statement: str) -> None:
    """To import it, or what needs no reactor, installs none."""
    program = f"{statement}\nimport sys\nsys.exit('twisted.internet.reactor' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
