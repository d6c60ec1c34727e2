"""Layout of generated Python code: lines of at most 100 characters, broken like ``ruff format``.

Templates have each statement on one line, because the length of the names in it varies.
"""

from __future__ import annotations

import itertools
import re
import textwrap

__all__ = ["lay_out", "sort_names"]

_WIDTH = 100
_INDENT = "    "
_TEXT = re.compile(r'(?P<indent> *)(?P<name>\w+) = (?P<prefix>f?)"(?P<text>[^"]*)"')
_IMPORT = re.compile(r"(?P<head>from [\w.]+ import )(?P<names>.*)")
_QUOTED = re.compile(r"""("|')(?:\\.|(?!\1|\\).)*\1""")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def lay_out(code: str) -> str:
    """Return ``code`` with every line that is too long broken into several."""
    return "".join(f"{line}\n" for whole in code.splitlines() for line in _break(whole))


def sort_names(names: set[str]) -> list[str]:
    """Return names in ruff's order for imports and ``__all__``."""

    def rank(name: str) -> tuple[int, str]:
        return 0 if name.isupper() else 1 if name[0].isupper() else 2, name

    return sorted(names, key=rank)


def _break(line: str) -> list[str]:
    if len(line) <= _WIDTH:
        return [line]
    code = line.strip()
    if code.startswith('"""') and code.endswith('"""'):
        return _break_docstring(line)
    if code.startswith("# "):
        indent = _indent(line)
        return textwrap.wrap(code, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}# ")
    if found := _IMPORT.fullmatch(line):
        return _one_a_line(f"{found['head']}(", found["names"], ")", "")
    if found := _TEXT.fullmatch(line):
        return _break_text(found)
    return _break_brackets(line)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _break_docstring(line: str) -> list[str]:
    indent = _indent(line)
    text = line.strip().removesuffix('"""')
    # A text of one line would have the closing quotes on it again.
    width = _WIDTH - len('"""')
    lines = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
    return [*lines, f'{indent}"""']


def _break_text(found: re.Match[str]) -> list[str]:
    """Return an assignment of a string as one of several strings, which Python joins."""
    indent = found["indent"] + _INDENT
    parts = textwrap.wrap(found["text"], _WIDTH - len(indent) - len(' f""'))
    texts = [part if number == 0 else f" {part}" for number, part in enumerate(parts)]
    lines = [f'{indent}{found["prefix"] if "{" in text else ""}"{text}"' for text in texts]
    return [f"{found['indent']}{found['name']} = (", *lines, f"{found['indent']})"]


def _break_brackets(line: str) -> list[str]:
    """Return a line with the content of one pair of brackets on separate lines.

    The pair is that of a function's parameters, or the last one.
    """
    indent = _indent(line)
    pairs = _outer_pairs(line)
    is_definition = line.lstrip().startswith(("def ", "async def "))
    start, end = pairs[0] if is_definition else pairs[-1]
    head, body, tail = line[: start + 1], line[start + 1 : end], line[end:]
    is_literal = not is_definition and head[-2] in " =("
    if len(indent) + len(_INDENT) + len(body) <= _WIDTH and not is_literal:
        return [head, f"{indent}{_INDENT}{body}", indent + tail]
    return _one_a_line(head, body, tail, indent)


def _one_a_line(head: str, body: str, tail: str, indent: str) -> list[str]:
    items = [f"{indent}{_INDENT}{item.strip()}," for item in _items(body)]
    return [head, *(line for item in items for line in _break(item)), indent + tail]


def _outer_pairs(line: str) -> list[tuple[int, int]]:
    """Return the positions of a line's outermost brackets."""
    pairs = []
    closing: list[str] = []
    start = 0
    for index, char in _code(line):
        if char in _PAIRS:
            if not closing:
                start = index
            closing.append(_PAIRS[char])
        elif closing and char == closing[-1]:
            closing.pop()
            if not closing:
                pairs.append((start, index))
    return pairs


def _items(body: str) -> list[str]:
    """Return the comma-separated items of ``body``."""
    inner = _outer_pairs(body)
    commas = [
        index
        for index, char in _code(body)
        if char == "," and not any(start < index < end for start, end in inner)
    ]
    edges = [-1, *commas, len(body)]
    items = [body[a + 1 : b] for a, b in itertools.pairwise(edges)]
    return [item for item in items if item.strip()]


def _code(line: str) -> list[tuple[int, str]]:
    """Return the characters of a line that are outside strings, with their positions."""
    blank = _QUOTED.sub(lambda found: " " * len(found[0]), line)
    return [(index, char) for index, char in enumerate(blank) if char != " "]
