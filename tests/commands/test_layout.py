"""Layout of generated code: what is broken, and that ruff has nothing to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from x121.commands.layout import lay_out, sort_names

LONG = "a_name_that_is_quite_long"
LINES = {
    "signature": f"async def change(self, {LONG}: Id, {LONG}_2: Id, one: M = ANY) -> {LONG}: ...",
    "parameters": f"def f({', '.join(f'{LONG}_{i}: int' for i in range(6))}) -> None: ...",
    "call": f"{LONG} = await queries.page({LONG}, {LONG}, after={LONG}, limit=1 + {LONG})",
    "dict": f'VALUES = {{"{LONG}": "{LONG}", "{LONG}_2": \'{LONG} " (\', "{LONG}_3": [1, 2]}}',
    "dict that fits below": f'{LONG}_AND_SO = {{"{LONG}": 1, "{LONG}_2": 2, "b": 3}}',
    "in a dict": f'VALUES = {{"a": {{"{LONG}": "{LONG}", "{LONG}_2": "{LONG}", "b": []}}}}',
    "text": f'TEXT = f"SELECT {{{LONG}}} FROM {LONG} WHERE {LONG} = %s AND {LONG} = %s"',
    "import": f"from x121 import {LONG}_1, {LONG}_2, {LONG}_3, {LONG}_4",
    "names": f'__all__ = ["{LONG}_1", "{LONG}_2", "{LONG}_3", "{LONG}_4"]',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_as_ruff_has_it(line: str) -> None:
    """A line that is too long is broken as ``ruff format`` breaks it."""
    assert len(line) > 100
    laid_out = lay_out(line)
    assert max(map(len, laid_out.splitlines())) <= 100
    command = [sys.executable, "-m", "ruff", "format", "--line-length=100", "-"]
    formatted = subprocess.run(command, input=laid_out, capture_output=True, text=True, check=True)
    assert laid_out == formatted.stdout


def test_short_lines() -> None:
    """What fits stays as it is."""
    code = Path(__file__).read_text().replace(LONG, "a")
    short = "".join(line for line in code.splitlines(keepends=True) if len(line) <= 101)
    assert lay_out(short) == short


def test_docstring() -> None:
    """A docstring goes on below, and its quotes stand alone."""
    laid_out = lay_out(f'    """Return {"a word, " * 20}and no more."""')
    first, *_, last = laid_out.splitlines()
    assert (first[:14], last) == ('    """Return ', '    """')
    assert max(map(len, laid_out.splitlines())) <= 100


def test_docstring_that_nearly_fits() -> None:
    """A docstring that would fit but for its quotes is not one line."""
    text = '    """' + "a word, " * 11 + "last."
    assert len(text) == 100
    assert len(lay_out(f'{text}"""').splitlines()) == 3


def test_comment() -> None:
    """A comment goes on as a comment."""
    lines = lay_out(f"    # {'a word, ' * 20}").splitlines()
    assert [line[:6] for line in lines] == ["    # "] * 2


def test_names() -> None:
    """Constants come first, then classes, then all else."""
    assert sort_names({"page", "Page", "ANY"}) == ["ANY", "Page", "page"]
