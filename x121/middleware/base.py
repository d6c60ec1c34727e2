"""The shape that all wrappers share."""

from __future__ import annotations

from typing import Protocol

from twisted.web.resource import IResource, Resource

from x121.http.request import Request

__all__ = ["Middleware", "Rendered"]

Rendered = bytes | int
"""What ``render`` returns: the whole body, or ``NOT_DONE_YET``."""


class _Renders(Protocol):
    def render(self, request: Request) -> Rendered: ...


class Middleware(Resource):
    """A resource whose ``render`` does its part and leaves the rest to the one ``inner`` to it."""

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        super().__init__()
        self.inner: _Renders = inner
