"""Docstrings, as readers of the documentation see them."""

from __future__ import annotations

import re

__all__ = ["as_markdown", "as_text", "first_sentence"]

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SENTENCE = re.compile(r".*?[.:;](?=\s|$)", re.DOTALL)


def as_markdown(text: str) -> str:
    """Return a docstring, in which ``:class:`~a.b.Name``` stands for ``Name``."""
    return _ROLE.sub(r"`\1`", text).strip()


def as_text(text: str) -> str:
    """Return a docstring's paragraph as one line without any markup."""
    return " ".join(as_markdown(text).replace("`", "").split())


def first_sentence(text: str) -> str:
    """Return what a docstring begins with, as one line: up to a semicolon what is for everybody."""
    found = _SENTENCE.match(text.strip())
    sentence = text if found is None else found[0]
    return " ".join(as_markdown(sentence).split()).rstrip(".:;") + "."
