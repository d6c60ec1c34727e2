"""What Schemathesis has to be told of this API; it imports this from where it runs."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from x121.core.types import DbId
from x121.web.pages import make_cursor

# Of each format that only this API has: how texts of it are made.
_TAGS = st.lists(st.from_regex(r'"[!#-~]{0,30}"', fullmatch=True), min_size=1, max_size=3)
FORMATS = {
    "cursor": st.integers(0, 2**63 - 1).map(lambda key: make_cursor(DbId(key))),
    "entity-tags": st.just("*") | _TAGS.map(", ".join),
}

for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)
