"""Detects statements that leave state in a session, which must be cleaned up before its next use.

Such state is a setting (SET), a role, a temporary table, a prepared statement, a cursor, LISTEN or
an advisory lock. PostgreSQL doesn't report it, and a clean-up after every use would cost a round
trip each, so statements are recognised by their text.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["changes_session"]

_MAX_CACHED_CHARS = 4_000

# Statements that leave no state, by their first words.  After all others there is a clean-up.
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
# Ways to change the session from one of those: a second statement, a function, SELECT INTO TEMP.
_CHANGE = re.compile(
    r"""
    ; (?= \s*+ \S )
    | \b (?: set_config | pg_(?:try_)?advisory_lock(?:_shared)? | TEMP | TEMPORARY | pg_temp ) \b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LOCAL_SET_CONFIG = re.compile(r"\bset_config\s*\([^()]*,\s*true\s*\)", re.IGNORECASE)


def changes_session(text: str) -> bool:
    """Return True if ``text`` may leave state in the session that runs it.

    Effects of functions and triggers defined in the database are not detected.
    """
    # A text this long has values pasted into it, and hardly occurs twice.
    return _cached(text) if len(text) <= _MAX_CACHED_CHARS else _may_change(text)


def _may_change(text: str) -> bool:
    if not _HARMLESS.match(text):
        return True
    return _CHANGE.search(_LOCAL_SET_CONFIG.sub("", text)) is not None


_cached = lru_cache(maxsize=1_000)(_may_change)
