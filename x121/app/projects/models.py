"""Projects, and what can be said of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from x121.core.models import Id, Model, Text, Timestamp, optional

__all__ = ["NewProject", "Project", "ProjectChanges"]

_Name = Annotated[Text, Field(min_length=1, max_length=200, examples=["Apollo"])]
_Description = Annotated[Text, Field(max_length=10_000)]


class Project(Model):
    """A project, as it is stored."""

    id: Id
    name: _Name
    """No two projects have the same."""
    description: Text
    created_at: Timestamp
    updated_at: Timestamp


class NewProject(Model):
    """A project that is to be."""

    name: _Name
    """No two projects have the same."""
    description: _Description = ""


class ProjectChanges(Model):
    """What is to be another about a project; what is left out stays as it is."""

    name: _Name = optional()
    """No two projects have the same."""
    description: _Description = optional()
