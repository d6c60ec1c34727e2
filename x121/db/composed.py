"""Texts of composed queries (:mod:`psycopg2.sql`), each made once if the query is kept."""

from __future__ import annotations

import weakref

from psycopg2 import extensions
from psycopg2.sql import SQL, Composable, Composed, Identifier, Placeholder

__all__ = ["compose"]

# Composables have no hash.  An entry is removed with its query, before its id is used again.
_texts: dict[int, tuple[weakref.ref[Composable], str]] = {}


def compose(query: Composable, connection: extensions.connection) -> str:
    """Return the text of ``query``, which is the same for all connections to PostgreSQL in UTF-8.

    Raises :class:`psycopg2.Error` if a literal in it can't be sent.
    """
    key = id(query)
    entry = _texts.get(key)
    if entry is not None:
        return entry[1]
    text = query.as_string(connection)
    if _is_constant(query):
        _texts[key] = (weakref.ref(query, lambda _: _texts.pop(key, None)), text)
    return text


def _is_constant(query: Composable) -> bool:
    """Return True if the text can't change; a literal's value, such as a list, may."""
    if isinstance(query, Composed):
        return all(map(_is_constant, query.seq))
    return isinstance(query, (SQL, Identifier, Placeholder))
