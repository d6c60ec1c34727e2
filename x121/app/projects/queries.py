"""The SQL of projects.  Each query runs on a pool or in a transaction."""

from __future__ import annotations

from x121.app.projects.models import NewProject, Project
from x121.core.types import DbId
from x121.db.queryable import Queryable

__all__ = ["create", "delete", "find", "lock", "page", "update"]

_COLUMNS = "id, name, description, created_at, updated_at"


async def page(db: Queryable, *, after: DbId, most: int, prefix: str) -> list[Project]:
    """Return up to ``most`` projects with a name that begins with ``prefix``, after an id."""
    query = f"SELECT {_COLUMNS} FROM projects WHERE id > %s AND name ^@ %s ORDER BY id LIMIT %s"
    return await db.fetch_all(query, (after, prefix, most), into=Project)


async def find(db: Queryable, project_id: DbId) -> Project:
    """Return a project.  Raises :class:`~x121.errors.RowNotFound`."""
    query = f"SELECT {_COLUMNS} FROM projects WHERE id = %s"
    return await db.fetch_one(query, (project_id,), into=Project)


async def lock(db: Queryable, project_id: DbId) -> Project:
    """Return a project, locked against other changes until the transaction ends.

    Raises :class:`~x121.errors.RowNotFound`.
    """
    query = f"SELECT {_COLUMNS} FROM projects WHERE id = %s FOR UPDATE"
    return await db.fetch_one(query, (project_id,), into=Project)


async def create(db: Queryable, new: NewProject) -> Project:
    """Insert a project.

    Raises :class:`psycopg2.errors.UniqueViolation` of ``uq_projects_name``.
    """
    query = f"INSERT INTO projects (name, description) VALUES (%s, %s) RETURNING {_COLUMNS}"
    return await db.fetch_one(query, (new.name, new.description), into=Project)


async def update(db: Queryable, project: Project) -> Project:
    """Update the fields that clients may change.  Raises what :func:`create` raises."""
    query = f"UPDATE projects SET name = %s, description = %s WHERE id = %s RETURNING {_COLUMNS}"
    values = (project.name, project.description, project.id)
    return await db.fetch_one(query, values, into=Project)


async def delete(db: Queryable, project_id: DbId) -> None:
    """Delete a project."""
    await db.execute("DELETE FROM projects WHERE id = %s", (project_id,))
