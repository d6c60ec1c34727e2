"""The SQL of projects.

What changes one tells ``committed`` of it once that is so for everybody: when the transaction is
committed, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from psycopg2.sql import SQL, Identifier

from x121.app.projects.models import NewProject, Project, ProjectChanges
from x121.db.pool import Pool, Session
from x121.types import DbId

__all__ = ["change", "create", "delete", "find", "page"]

Committed = Callable[[Project], object]
Check = Callable[[Project], object]

_COLUMNS = SQL("id, name, description, created_at, updated_at")


def _project(row: tuple[Any, ...]) -> Project:
    return Project(**dict(zip(Project.model_fields, row, strict=True)))


async def page(pool: Pool, *, after: DbId, most: int, prefix: str) -> list[Project]:
    """Return up to ``most`` projects whose names begin with ``prefix``, from id ``after`` on."""
    query = SQL("SELECT {} FROM projects WHERE id > %s AND name ^@ %s ORDER BY id LIMIT %s")
    rows = await pool.fetch_all(query.format(_COLUMNS), (after, prefix, most))
    return [_project(row) for row in rows]


async def find(pool: Pool, project_id: DbId) -> Project:
    """Return a project.  Raises :class:`~x121.errors.RowNotFound`."""
    query = SQL("SELECT {} FROM projects WHERE id = %s").format(_COLUMNS)
    return _project(await pool.fetch_one(query, (project_id,)))


async def create(pool: Pool, new: NewProject, committed: Committed) -> Project:
    """Return the project that ``new`` has become.

    Raises :class:`psycopg2.errors.UniqueViolation` of ``uq_projects_name``.
    """
    query = SQL("INSERT INTO projects (name, description) VALUES (%s, %s) RETURNING {}")
    async with pool.transaction() as transaction:
        row = await transaction.fetch_one(query.format(_COLUMNS), (new.name, new.description))
        project = _project(row)
        transaction.on_commit(partial(committed, project))
    return project


async def change(
    pool: Pool, project_id: DbId, changes: ProjectChanges, check: Check, committed: Committed
) -> Project:
    """Return the project as it is with ``changes``.

    ``check`` is given it as it was, and raises if it shouldn't be changed; nobody else changes it
    in between.  Raises :class:`~x121.errors.RowNotFound`, and as :func:`create` does.
    """
    values = changes.model_dump(exclude_unset=True)
    async with pool.transaction() as transaction:
        project = await _lock(transaction, project_id)
        check(project)
        if values:
            project = await _update(transaction, project_id, values)
            transaction.on_commit(partial(committed, project))
    return project


async def delete(pool: Pool, project_id: DbId, check: Check, committed: Committed) -> None:
    """Delete a project, of which ``committed`` gets the last; ``check`` as in :func:`change`.

    Raises :class:`~x121.errors.RowNotFound`.
    """
    async with pool.transaction() as transaction:
        project = await _lock(transaction, project_id)
        check(project)
        await transaction.execute("DELETE FROM projects WHERE id = %s", (project_id,))
        transaction.on_commit(partial(committed, project))


async def _lock(transaction: Session, project_id: DbId) -> Project:
    """Return a project that nobody else changes before the transaction ends."""
    query = SQL("SELECT {} FROM projects WHERE id = %s FOR UPDATE").format(_COLUMNS)
    return _project(await transaction.fetch_one(query, (project_id,)))


async def _update(transaction: Session, project_id: DbId, values: dict[str, Any]) -> Project:
    query = SQL("UPDATE projects SET {} WHERE id = {} RETURNING {}").format(
        SQL(", ").join(SQL("{} = %s").format(Identifier(name)) for name in values),
        SQL("%s"),
        _COLUMNS,
    )
    return _project(await transaction.fetch_one(query, (*values.values(), project_id)))
