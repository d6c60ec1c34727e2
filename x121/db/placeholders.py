"""Explains why psycopg2 couldn't insert parameters into a query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import psycopg2
from psycopg2 import errorcodes
from twisted.python.failure import Failure

from x121.errors import UnstorableValue

__all__ = ["Params", "explain"]

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]

_PLACEHOLDER = re.compile(r"%(?P<code>%|s|\((?P<name>[^)]*)\)s|.?)", re.DOTALL)
_MAX_SHOWN = 200


def explain(failure: Failure, text: str, params: Params) -> Failure:
    """Return ``failure``, which the query ``text`` ended with, or a clearer error.

    TypeError and ValueError mean that placeholders and ``params`` don't match, and show the query.
    :class:`~x121.errors.UnstorableValue` means that PostgreSQL can't store one of the values. No
    error shows a value.
    """
    error = failure.value
    if isinstance(error, psycopg2.Error) and error.pgcode is not None:
        clearer = _unfilled_placeholder(error, text, params)
    elif isinstance(error, (psycopg2.ProgrammingError, LookupError, TypeError, ValueError)):
        clearer = _misuse_error(error, text, params)
    else:
        return failure
    if clearer is None:
        return failure
    clearer.__cause__ = error
    return Failure(clearer)


def _unfilled_placeholder(error: psycopg2.Error, text: str, params: Params) -> Exception | None:
    said = error.diag.message_primary or ""
    # Without params a % isn't replaced, and PostgreSQL reports the placeholder.
    if error.pgcode == errorcodes.SYNTAX_ERROR and not params and '"%"' in said:
        return TypeError(f"{said}: are params missing? In the query: {_shorten(text)}")
    return None


def _misuse_error(error: Exception, text: str, params: Params) -> Exception | None:
    problem = _misuse(text, params)
    if problem:
        return ValueError(f"{problem}; in the query: {_shorten(text)}")
    return UnstorableValue(str(error)) if isinstance(error, ValueError) else None


def _misuse(text: str, params: Params) -> str:
    """Return how placeholders and ``params`` don't match, or "" if they do."""
    if isinstance(params, (str, bytes)):
        return f"params must be a sequence or a mapping, not {type(params).__name__}: (value,)"
    positional = 0
    names: list[str] = []
    for found in _PLACEHOLDER.finditer(text):
        if found["name"] is not None:
            names.append(found["name"])
        elif found["code"] == "s":
            positional += 1
        elif found["code"] != "%":
            return (
                f"{found[0]!r} is no placeholder: write %% for a percent sign,"
                " %s or %(name)s for a value"
            )
    if positional and names:
        return "%s and %(name)s can't stand in one query"
    if isinstance(params, Mapping):
        return _name_misuse(names, positional, params)
    if names:
        return f"%({names[0]})s needs params that are a mapping, not {type(params).__name__}"
    if positional != len(params):
        return f"the number of %s is {positional}, the number of params {len(params)}"
    return ""


def _name_misuse(names: Sequence[str], positional: int, params: Mapping[str, Any]) -> str:
    if positional:
        return f"%s needs params that are a sequence, not {type(params).__name__}"
    missing = [name for name in names if name not in params]
    return f"params lack {', '.join(missing)}" if missing else ""


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + "..."
