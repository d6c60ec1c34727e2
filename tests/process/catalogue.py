"""A feature with a bit of everything that typed endpoints may declare, kept in memory."""

from __future__ import annotations

import enum
import itertools
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from x121.application import AppState, Feature
from x121.core.models import Id, Model, Text, Timestamp, optional
from x121.core.types import DbId
from x121.errors import Conflict, Forbidden, NotFound, PreconditionFailed, Unauthorized
from x121.web.etags import ANY_VERSION, IfMatch
from x121.web.operations import Body, Header, Query, Response
from x121.web.router import Router

__all__ = ["Catalogue"]

Name = Annotated[Text, Field(min_length=1, max_length=50)]
MAX_THINGS = 500


class Colour(enum.StrEnum):
    """What a thing may look like."""

    RED = "red"
    BLUE = "blue"


class Part(Model):
    """What a thing is made of."""

    name: Name
    weight: Annotated[float, Field(ge=0, le=1000)]
    """In grams"""


Parts = Annotated[list[Part], Field(max_length=5)]


class NewThing(Model):
    """A thing that is still to be."""

    name: Name
    colour: Colour = Colour.RED
    parts: Parts = Field(default_factory=list)
    seen_at: Timestamp | None = None
    labels: dict[str, int] = Field(default_factory=dict)


class Thing(NewThing):
    """A thing."""

    id: Id


class ThingChange(Model):
    """What is to be another."""

    name: Name = optional()
    colour: Colour = optional()


class Found(Model):
    """What was asked for, as it was understood."""

    words: list[str]
    limit: int
    ratio: float | None

    colour: Colour | None
    deep: bool
    language: str


class Catalogue(Feature):
    """Things, which are forgotten when the server stops."""

    router = Router()

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._things: dict[int, Thing] = {}
        self._ids = itertools.count(1)

    @router.get("/", errors=[Forbidden])
    async def search(
        self,
        words: Annotated[list[Name], Query("word"), Field(max_length=5)],
        limit: Annotated[int, Field(ge=1, le=100, description="How many at most")] = 20,
        ratio: Annotated[float, Field(gt=0, lt=1)] | None = None,
        colour: Colour | None = None,
        deep: bool = False,
        language: Annotated[str, Header("Accept-Language"), Field(max_length=40)] = "en",
    ) -> Found:
        """Says what was asked for.

        Finds nothing.  See :class:`Found`.
        """
        return Found(
            words=words,
            limit=limit,
            ratio=ratio,
            colour=colour,
            deep=deep,
            language=language,
        )

    @router.post("/", status=201, headers={"Location": "Where it is"}, errors=[Conflict])
    def create(self, new: NewThing) -> Response[Thing]:
        """Adds a thing."""
        if any(thing.name == new.name for thing in self._things.values()):
            raise Conflict("There is a thing of this name")
        if len(self._things) == MAX_THINGS:
            raise Conflict("There are too many things")
        thing = Thing(id=DbId(next(self._ids)), **dict(new))
        self._things[thing.id] = thing
        return Response(thing, {"Location": f"/catalogue/{thing.id}"})

    @router.get("/<int:thing_id>", etag=True)
    def show(self, thing_id: Id) -> Thing:
        """A thing."""
        return self._find(thing_id)

    @router.patch("/<int:thing_id>", etag=True, errors=[PreconditionFailed])
    async def change(
        self, thing_id: Id, change: ThingChange, versions: IfMatch = ANY_VERSION
    ) -> Thing:
        """Changes what is sent, if it is the version that is asked for."""
        thing = self._find(thing_id)
        versions.check(thing)
        self._things[thing_id] = thing.model_copy(update=change.model_dump(exclude_unset=True))
        return self._things[thing_id]

    @router.delete("/<int:thing_id>")
    def remove(self, thing_id: Id) -> None:
        """Forgets a thing."""
        del self._things[self._find(thing_id).id]

    @router.put("/<int:thing_id>/parts")
    def replace_parts(self, thing_id: Id, parts: Annotated[Parts, Body]) -> Parts:
        """Replaces a thing's parts."""
        thing = self._find(thing_id)
        self._things[thing_id] = thing.model_copy(update={"parts": parts})
        return parts

    @router.get("/named/<name>/<uuid:key>")
    def named(self, name: str, key: UUID, kind: Literal["short", "long"] = "short") -> list[str]:
        """Repeats its path."""
        return [name, str(key), kind]

    @router.get("/secrets", errors=[Unauthorized], deprecated=True)
    def secrets(self, key: Annotated[str, Header("X-Key"), Field(pattern="^[a-z]{4}$")]) -> str:
        """Nobody knows the key."""
        raise Unauthorized("This is not the key", challenge="Key")

    def _find(self, thing_id: int) -> Thing:
        thing = self._things.get(thing_id)
        if thing is None:
            raise NotFound("There is no such thing")
        return thing
