"""HTML elements for texts and examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from twisted.web.template import Tag, tags

__all__ = ["Content", "example", "line", "prose"]

Content = Tag | str

_MAX_COLUMNS = 44
_CODE = re.compile(r"``(.+?)``|:\w+:`~(?:\w+\.)*(\w+)`|(?::\w+:)?`(.+?)`")
_JSON = re.compile(r'("(?:[^"\\]|\\.)*")(:?)|(-?\d[\d.eE+-]*|true|false|null)')


def prose(text: str) -> Iterator[Content]:
    """Yield the paragraphs of a docstring."""
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.strip():
            yield tags.p(*line(" ".join(paragraph.split())))


def line(text: str) -> Iterator[Content]:
    """Yield a text, with the parts between backquotes as code."""
    end = 0
    for match in _CODE.finditer(text):
        yield text[end : match.start()]
        yield tags.code(next(filter(None, match.groups())))
        end = match.end()
    yield text[end:]


def example(title: str, value: Any) -> Tag:
    """Return a figure that shows a value as JSON."""
    code = tags.code(*_coloured(_pretty(value)))
    return tags.figure(tags.figcaption(title), tags.pre(code))


def _pretty(value: Any, indent: str = "") -> str:
    """Return JSON on as few lines as the width allows."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= _MAX_COLUMNS or not isinstance(value, (dict, list)) or not value:
        return line
    inside = indent + "  "
    if isinstance(value, list):
        items = [_pretty(item, inside) for item in value]
    else:
        items = [
            f"{json.dumps(name, ensure_ascii=False)}: {_pretty(member, inside)}"
            for name, member in value.items()
        ]
    start, end = "[]" if isinstance(value, list) else "{}"
    lines = ",\n".join(inside + item for item in items)
    return f"{start}\n{lines}\n{indent}{end}"


def _coloured(text: str) -> Iterator[Content]:
    """Yield JSON with its names, texts and other values marked for the style sheet."""
    end = 0
    for match in _JSON.finditer(text):
        yield text[end : match.start()]
        if match[1]:
            yield tags.span(match[1], class_="name" if match[2] else "text")
            yield match[2]
        else:
            yield tags.span(match[3], class_="value")
        end = match.end()
    yield text[end:]
