"""Query methods shared by the pool, sessions and transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from x121.db.connection import Params, Query, Result, Row
from x121.errors import InternalError, RowNotFound

__all__ = ["Queryable"]

M = TypeVar("M", bound=BaseModel)

_MAX_SHAPES = 1024


class Queryable:
    """Base class of the pool, sessions and transactions.

    Pass values as ``params``, never in the text: ``%s`` or ``%(name)s`` stands for one. Without
    params a ``%`` has no special meaning. A row is a tuple or, with ``into``, a model whose fields
    are filled from the columns of the same names. Queries fail with :class:`psycopg2.Error`, and
    with :class:`~x121.errors.InternalError` if the columns or values of a row don't match the
    model.
    """

    __slots__ = ()

    @overload
    async def fetch_all(self, query: Query, params: Params = ()) -> list[Row]: ...
    @overload
    async def fetch_all(self, query: Query, params: Params = (), *, into: type[M]) -> list[M]: ...
    async def fetch_all(
        self, query: Query, params: Params = (), *, into: type[M] | None = None
    ) -> list[Row] | list[M]:
        """Return all rows."""
        result = await self._run(query, params)
        return result.rows if into is None else _models(into, result.columns, result.rows)

    @overload
    async def fetch_optional(self, query: Query, params: Params = ()) -> Row | None: ...
    @overload
    async def fetch_optional(
        self, query: Query, params: Params = (), *, into: type[M]
    ) -> M | None: ...
    async def fetch_optional(
        self, query: Query, params: Params = (), *, into: type[M] | None = None
    ) -> Row | M | None:
        """Return the first row, or None if there are no rows."""
        result = await self._run(query, params)
        first = result.rows[:1]
        found = first if into is None else _models(into, result.columns, first)
        return found[0] if found else None

    @overload
    async def fetch_one(self, query: Query, params: Params = ()) -> Row: ...
    @overload
    async def fetch_one(self, query: Query, params: Params = (), *, into: type[M]) -> M: ...
    async def fetch_one(
        self, query: Query, params: Params = (), *, into: type[M] | None = None
    ) -> Row | M:
        """Return the first row.

        Raises :class:`~x121.errors.RowNotFound` if there are no rows.
        """
        result = await self._run(query, params)
        if not result.rows:
            raise RowNotFound("the query returned no rows (expected one)")
        first = result.rows[:1]
        return first[0] if into is None else _models(into, result.columns, first)[0]

    async def execute(self, query: Query, params: Params = ()) -> int:
        """Return the number of rows that the statement affected; -1 if PostgreSQL doesn't say."""
        return (await self._run(query, params)).rowcount

    def _run(self, query: Query, params: Params) -> Awaitable[Result]:
        raise NotImplementedError


def _models(into: type[M], columns: tuple[str, ...], rows: Sequence[Row]) -> list[M]:
    """Return the rows as models.  Error messages have no values, because they may be logged."""
    names = _field_names(into, columns)
    try:
        return [
            into.model_validate(dict(zip(names, row, strict=True)), by_alias=False, by_name=True)
            for row in rows
        ]
    except ValidationError as error:
        wrong = {".".join(map(str, one["loc"])): one["msg"] for one in error.errors()}
        raise InternalError(f"a row doesn't fit {into.__name__}: {wrong}") from None


@lru_cache(maxsize=_MAX_SHAPES)
def _field_names(into: type[BaseModel], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``columns`` if they match the fields of ``into``; checked once per query.

    Raises :class:`~x121.errors.InternalError`, which names those that differ.
    """
    fields: dict[str, Any] = into.model_fields
    required = [name for name, field in fields.items() if field.is_required()]
    differing = {
        "no column for": [name for name in required if name not in columns],
        "no field for": [name for name in columns if name not in fields],
        "several columns named": sorted({name for name in columns if columns.count(name) > 1}),
    }
    problems = [f"{what} {', '.join(names)}" for what, names in differing.items() if names]
    if problems:
        text = f"the columns of a query don't fit {into.__name__}: {'; '.join(problems)}"
        raise InternalError(text)
    return columns
