"""Conversion of docstrings to Markdown and to plain text."""

from __future__ import annotations

import re

__all__ = ["as_markdown", "as_text", "first_sentence"]

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SENTENCE = re.compile(r".*?[.:;](?=\s|$)", re.DOTALL)


def as_markdown(text: str) -> str:
    """Return a docstring in Markdown: ``:class:`~a.b.Name``` becomes ``Name`` in backquotes."""
    return _ROLE.sub(r"`\1`", text).strip()


def as_text(text: str) -> str:
    """Return a docstring's paragraph as one line without markup."""
    return " ".join(as_markdown(text).replace("`", "").split())


def first_sentence(text: str) -> str:
    """Return a docstring's first sentence as one line, up to a colon or semicolon.

    What follows those is for the readers of the code.
    """
    match = _SENTENCE.match(text.strip())
    sentence = text if match is None else match[0]
    return " ".join(as_markdown(sentence).split()).rstrip(".:;") + "."
