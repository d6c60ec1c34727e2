"""What handlers of requests and of messages say, read in one way."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from twisted.internet.defer import Deferred

from x121.core.signatures import parameters_of, parse_docstring, qualified_name, type_hints, unwrap

if TYPE_CHECKING:
    from datetime import date


class Feature:
    def method(self, limit: Annotated[int, "kept"]) -> str:
        raise NotImplementedError


def test_reads() -> None:
    """Types are found as they are written, arguments without the instance."""
    assert type_hints(Feature.method) == {"limit": Annotated[int, "kept"], "return": str}
    for handler in (Feature.method, Feature().method):
        assert [one.name for one in parameters_of(handler)] == ["limit"]
        assert qualified_name(handler) == f"{__name__}.Feature.method"


def test_other_callables() -> None:
    """What has no annotations says nothing."""
    assert type_hints(partial(Feature().method, 1)) == {}
    assert "partial" in qualified_name(partial(Feature().method, 1))


def test_unknown_type() -> None:
    """A type that isn't there when the server runs is an error that says whose it is."""

    def handler(day: date) -> None: ...

    with pytest.raises(TypeError, match=r"test_unknown_type.*handler: .*'date' is not defined"):
        type_hints(handler)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, int),
        (Deferred[int], int),
        (Awaitable[int], int),
        (Coroutine[Any, Any, int], int),
        (Deferred[Awaitable[list[int]]], list[int]),
        (list[Awaitable[int]], list[Awaitable[int]]),
    ],
)
def test_unwrap(hint: Any, expected: Any) -> None:
    """What is awaited is what counts; what is only a part of a type is left as it is."""
    assert unwrap(hint) == expected


def test_told() -> None:
    """A docstring's first paragraph is one line; the rest is as it is; none tells nothing."""
    assert parse_docstring("Do what\nis due.\n\nAt length,\nand more.\n") == (
        "Do what is due.",
        "At length,\nand more.",
    )
    assert parse_docstring(None) == ("", "")
