"""Models of projects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from x121.core.models import Id, Model, Text, Timestamp, optional

__all__ = ["NewProject", "Project", "ProjectChanges"]

_Name = Annotated[Text, Field(min_length=1, max_length=200, examples=["Apollo"])]
_Description = Annotated[Text, Field(max_length=10_000)]


class Project(Model):
    """A project."""

    id: Id
    name: _Name
    """Unique among all projects."""
    description: Text
    created_at: Timestamp
    updated_at: Timestamp


class NewProject(Model):
    """The fields of a project to create."""

    name: _Name
    """Unique among all projects."""
    description: _Description = ""


class ProjectChanges(Model):
    """The fields of a project to change; the others keep their values."""

    name: _Name = optional()
    """Unique among all projects."""
    description: _Description = optional()
