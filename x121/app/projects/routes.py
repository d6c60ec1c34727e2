"""Projects: listed, created, shown, changed and deleted, and told of to those who follow them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field

from x121.api.etags import ANY_VERSION, IfMatch
from x121.api.operation import Answer
from x121.api.router import Router
from x121.app.projects import queries
from x121.app.projects.models import NewProject, Project, ProjectChanges
from x121.application import AppState, Feature
from x121.errors import Conflict, PreconditionFailed
from x121.http.request import Request
from x121.models.base import Id, Text
from x121.models.pages import Cursor, Limit, Page, make_page
from x121.types import DbId
from x121.ws.messages import Event, Handlers

__all__ = ["Projects"]


class Projects(Feature):
    """What people work on."""

    router = Router()
    messages = Handlers()

    topic = messages.topic("projects", public=True)
    created = messages.event("project.created", Project, topic=topic)
    updated = messages.event("project.updated", Project, topic=topic)
    deleted = messages.event("project.deleted", Project, topic=topic)

    def __init__(self, state: AppState) -> None:
        self._pool = state.pool
        self._ws_manager = state.ws_manager

    @router.get("/")
    async def index(
        self,
        limit: Limit = 20,
        cursor: Cursor | None = None,
        name_prefix: Annotated[Text, Field(max_length=200)] = "",
    ) -> Page[Project]:
        """List projects, oldest first; those whose names begin with `name_prefix`."""
        rows = await queries.page(
            self._pool, after=cursor or DbId(0), most=limit + 1, prefix=name_prefix
        )
        return make_page(rows, limit, key=lambda project: project.id)

    @router.post("/", status=201, etag=True, errors=[Conflict], headers={"Location": "Where it is"})
    async def create(self, request: Request, new: NewProject) -> Answer[Project]:
        """Create a project."""
        project = await queries.create(self._pool, new, self._tell(self.created))
        return Answer(project, {"Location": f"{request.path.decode()}/{project.id}"})

    @router.get("/<int:project_id>", etag=True)
    async def show(self, project_id: Id) -> Project:
        """Show a project."""
        return await queries.find(self._pool, project_id)

    @router.patch("/<int:project_id>", etag=True, errors=[Conflict, PreconditionFailed])
    async def change(
        self, project_id: Id, changes: ProjectChanges, if_match: IfMatch = ANY_VERSION
    ) -> Project:
        """Change the fields of a project that are sent.

        With `If-Match` only if nobody else has changed it since the client got that `ETag`.
        """
        return await queries.change(
            self._pool, project_id, changes, if_match.check, self._tell(self.updated)
        )

    @router.delete("/<int:project_id>", errors=[PreconditionFailed])
    async def delete(self, project_id: Id, if_match: IfMatch = ANY_VERSION) -> None:
        """Delete a project, with `If-Match` only if nobody else has changed it."""
        await queries.delete(self._pool, project_id, if_match.check, self._tell(self.deleted))

    def _tell(self, event: Event[Project]) -> Callable[[Project], int]:
        """Return what tells those who follow the projects of an event."""
        return partial(self._ws_manager.publish_event, event)
