"""Routes of projects, and the events about them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from x121 import (
    ANY_VERSION,
    AppState,
    Conflict,
    Cursor,
    DbId,
    Event,
    Feature,
    Handlers,
    Id,
    IfMatch,
    Limit,
    Page,
    PreconditionFailed,
    Request,
    Response,
    Router,
    Text,
    make_page,
)
from x121.app.projects import queries
from x121.app.projects.models import NewProject, Project, ProjectChanges

__all__ = ["Projects"]


class Projects(Feature):
    """Projects: create, list, change and delete."""

    router = Router()
    messages = Handlers()

    topic = messages.topic("projects", public=True)
    created = messages.event("project.created", Project, topic=topic)
    updated = messages.event("project.updated", Project, topic=topic)
    deleted = messages.event("project.deleted", Project, topic=topic)

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._pool = state.pool

    @router.get("/")
    async def index(
        self,
        limit: Limit = 20,
        cursor: Cursor | None = None,
        name_prefix: Annotated[Text, Field(max_length=200)] = "",
    ) -> Page[Project]:
        """List projects with a name that begins with `name_prefix`, oldest first."""
        rows = await queries.page(
            self._pool, after=cursor or DbId(0), most=limit + 1, prefix=name_prefix
        )
        return make_page(rows, limit, key=lambda project: project.id)

    @router.post("/", status=201, etag=True, errors=[Conflict], headers={"Location": "Its path"})
    async def create(self, request: Request, new: NewProject) -> Response[Project]:
        """Create a project."""
        async with self._pool.transaction() as transaction:
            project = await queries.create(transaction, new)
            transaction.on_commit(lambda: self._publish(self.created, project))
        return Response(project, {"Location": f"{request.path.decode()}/{project.id}"})

    @router.get("/<int:project_id>", etag=True)
    async def show(self, project_id: Id) -> Project:
        """Show a project."""
        return await queries.find(self._pool, project_id)

    @router.patch("/<int:project_id>", etag=True, errors=[Conflict, PreconditionFailed])
    async def change(
        self, project_id: Id, changes: ProjectChanges, if_match: IfMatch = ANY_VERSION
    ) -> Project:
        """Change the given fields of a project.

        With `If-Match`, change it only if it still has that `ETag`.
        """
        async with self._pool.transaction() as transaction:
            project = await queries.lock(transaction, project_id)
            if_match.check(project)
            values = changes.model_dump(exclude_unset=True)
            if not values:
                return project
            project = await queries.update(transaction, project.model_copy(update=values))
            transaction.on_commit(lambda: self._publish(self.updated, project))
        return project

    @router.delete("/<int:project_id>", errors=[PreconditionFailed])
    async def delete(self, project_id: Id, if_match: IfMatch = ANY_VERSION) -> None:
        """Delete a project; with `If-Match`, only if it still has that `ETag`."""
        async with self._pool.transaction() as transaction:
            project = await queries.lock(transaction, project_id)
            if_match.check(project)
            await queries.delete(transaction, project_id)
            transaction.on_commit(lambda: self._publish(self.deleted, project))

    def _publish(self, event: Event[Project], project: Project) -> None:
        self.state.ws_manager.publish_event(event, project)
