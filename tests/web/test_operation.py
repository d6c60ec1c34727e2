"""What a handler's signature says, and what it has to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from x121.core.models import Model
from x121.errors import Conflict
from x121.http.request import Request
from x121.web.operations import (
    MISSING,
    Body,
    Header,
    Query,
    RequestBody,
    Response,
    describe,
    read_operation,
)

if TYPE_CHECKING:
    from datetime import date


class Thing(Model):
    name: str


class Other(Model):
    number: int


def read(handler: Callable[..., Any], *in_path: str, **declared: Any) -> Any:
    return read_operation(handler, in_path, declared)  # type: ignore[arg-type]


def test_places() -> None:
    """Each parameter has its place, its name outside, its type and its default."""

    def handler(
        thing_id: int,
        thing: Thing,
        request: Request,
        limit: int = 20,
        since: str | None = None,
        words: Annotated[list[str], Query("word")] = [],  # noqa: B006
        match: Annotated[str | None, Header("If-Match")] = None,
        agent: Annotated[str, Header("User-Agent")] | None = None,
    ) -> Thing:
        raise NotImplementedError

    operation = read(handler, "thing_id")
    found = [(p.argument, p.name, p.place, p.default, p.is_list) for p in operation.parameters]
    assert found == [
        ("thing_id", "thing_id", "path", MISSING, False),
        ("limit", "limit", "query", 20, False),
        ("since", "since", "query", None, False),
        ("words", "word", "query", [], True),
        ("match", "If-Match", "header", None, False),
        ("agent", "User-Agent", "header", None, False),
    ]
    assert (operation.body, operation.request) == (RequestBody("thing", Thing), "request")
    assert operation.parameters[2].type is str, "None can't be sent, only left out"
    assert (operation.result, operation.status) == (Thing, 200)


def test_docstring() -> None:
    """The docstring's first paragraph is the summary, the rest the description."""

    def handler(self: object) -> None:
        """Do what has to be
        done.

        At length.

        And more.
        """

    operation = read(handler)
    assert operation.summary == "Do what has to be done."
    assert operation.description == "At length.\n\nAnd more."


def test_results() -> None:
    """A result's type is what is sent in the end, whatever it comes in."""

    def thing() -> Thing:
        raise NotImplementedError

    def deferred() -> Deferred[Thing]:
        raise NotImplementedError

    def awaitable() -> Awaitable[Response[Thing]]:
        raise NotImplementedError

    async def answer() -> Response[list[Thing]]:
        raise NotImplementedError

    async def nothing() -> None: ...

    assert [read(one).result for one in (thing, deferred, awaitable)] == [Thing] * 3
    assert read(answer).result == list[Thing]
    assert (read(nothing).result, read(nothing).status) == (None, 204)


def test_declared() -> None:
    """A decorator's word is kept."""

    def handler(request: IRequest) -> Thing:
        raise NotImplementedError

    operation = read(handler, status=201, errors=[Conflict], headers={"Location": "where"})
    assert (operation.status, operation.errors) == (201, (Conflict,))
    assert operation.headers == {"Location": "where"}
    assert describe(handler, MISSING, {}).result is MISSING


def test_body_without_a_model() -> None:
    """What is no model may be marked as the body."""

    def one(numbers: Annotated[list[int], Body()]) -> None: ...
    def other(numbers: Annotated[list[int], Body]) -> None: ...

    assert [read(handler).body.argument for handler in (one, other)] == ["numbers", "numbers"]


def test_optional_body() -> None:
    """A body with a default may be left out; one that may be null has to be there."""

    def required(thing: Thing) -> None: ...
    def null(thing: Thing | None) -> None: ...
    def model(thing: Thing | None = None) -> None: ...
    def default(thing: Thing = Thing(name="a")) -> None: ...  # noqa: B008
    def marked(thing: Annotated[list[int], Body()] | None = None) -> None: ...

    bodies = [read(handler).body for handler in (required, null, model, default, marked)]
    assert [body.is_required for body in bodies] == [True, True, False, False, False]
    assert [body.type for body in bodies[:3]] == [Thing, Thing | None, Thing | None]


def test_too_little() -> None:
    """A signature that says too little is refused, by the handler's name and with advice."""

    def no_result(limit: int): ...  # type: ignore[no-untyped-def]
    def no_type(limit) -> None: ...  # type: ignore[no-untyped-def]
    def two_bodies(one: Thing, two: Thing) -> None: ...
    def lost() -> None: ...
    def rest(*numbers: int) -> None: ...
    def unknown(day: date) -> None: ...

    for handler, says in (
        (no_result, "it has no return type"),
        (no_type, "limit has no type"),
        (two_bodies, "one and two can't both be the body"),
        (lost, "no parameter for thing_id of its path"),
        (rest, "can't be passed by name"),
        (unknown, "'date' is not defined: import or define"),
    ):
        with pytest.raises(TypeError) as caught:
            read(handler, *(["thing_id"] if handler is lost else []))
        assert str(caught.value).startswith(f"{__name__}.test_too_little.<locals>.")
        assert handler.__name__ in str(caught.value)
        assert says in str(caught.value)


def test_no_body() -> None:
    """What would be a body, but isn't one, is refused instead of looked for in the query."""

    def several(things: list[Thing]) -> None: ...
    def one_of(things: Thing | Other) -> None: ...

    for handler in (several, one_of):
        with pytest.raises(TypeError, match="things can't be read from the query: for a body use"):
            read(handler)
