"""Composed queries, whose text is made once."""

from __future__ import annotations

import gc
from typing import Any, cast

from psycopg2.sql import SQL, Composable
from twisted.trial.unittest import SynchronousTestCase

from x121.db import composed
from x121.db.composed import compose

CONNECTION = cast(Any, None)  # these texts don't depend on it


class Counted(SQL):
    """Counts how often its text is made."""

    made = 0

    def as_string(self, context: Any) -> str:
        Counted.made += 1
        return super().as_string(context)


class ComposeTests(SynchronousTestCase):
    def setUp(self) -> None:
        Counted.made = 0

    def test_once(self) -> None:
        """A query that is kept has its text made once, also one inside another."""
        query: Composable = Counted("SELECT {}").format(SQL("a") + SQL(", b"))
        assert [compose(query, CONNECTION) for _ in range(2)] == ["SELECT a, b"] * 2
        plain = Counted("SELECT 1")
        assert [compose(plain, CONNECTION) for _ in range(2)] == ["SELECT 1"] * 2
        assert Counted.made == 1

    def test_forgotten(self) -> None:
        """A query that nobody keeps leaves nothing behind."""
        gc.collect()
        before = len(composed._texts)
        for number in range(10):
            assert compose(SQL(f"SELECT {number}"), CONNECTION) == f"SELECT {number}"
        gc.collect()
        assert len(composed._texts) == before
