"""Statements that leave something behind in a session, which the next borrower must not find.

These are settings (SET), roles, temporary tables, prepared statements, cursors, LISTEN and advisory
locks.  PostgreSQL doesn't tell which of them a session has, and to clean up always would cost
every borrower a round trip, so statements are recognised by their text.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["changes_session"]

_MAX_CACHED_CHARS = 4_000

# What leaves nothing behind, by its first words.  Anything that isn't known to is cleaned up after.
_HARMLESS = re.compile(
    r"""
    (?: \s | \( | --[^\n]*+(?:\n|$) | /\*.*?\*/ )*+
    (?: SELECT | INSERT | UPDATE | DELETE | MERGE | WITH | VALUES | TABLE | SHOW | NOTIFY | LOCK
      | BEGIN | START | COMMIT | END | ROLLBACK | ABORT | SAVEPOINT | RELEASE
      | SET \s+ (?: LOCAL | TRANSACTION | CONSTRAINTS )
    ) \b
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# What changes a session from within one of those: a second statement, a function, SELECT INTO TEMP.
_CHANGE = re.compile(
    r"""
    ; (?= \s*+ \S )
    | \b (?: set_config | pg_(?:try_)?advisory_lock(?:_shared)? | TEMP | TEMPORARY | pg_temp ) \b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LOCAL_SET_CONFIG = re.compile(r"\bset_config\s*\([^()]*,\s*true\s*\)", re.IGNORECASE)


def changes_session(text: str) -> bool:
    """Whether ``text`` may leave something behind in the session that runs it.

    The effects of a function or trigger that the database defines are not seen.
    """
    # A text that long has values pasted into it, and is hardly met again.
    return _cached(text) if len(text) <= _MAX_CACHED_CHARS else _may_change(text)


def _may_change(text: str) -> bool:
    if not _HARMLESS.match(text):
        return True
    return _CHANGE.search(_LOCAL_SET_CONFIG.sub("", text)) is not None


_cached = lru_cache(maxsize=1_000)(_may_change)
