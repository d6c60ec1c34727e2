"""Base class of all middleware."""

from __future__ import annotations

from typing import Protocol

from twisted.web.resource import IResource, Resource

from x121.http.request import Request

__all__ = ["Middleware", "Rendered"]

Rendered = bytes | int
"""Result of ``render``: the whole body, or ``NOT_DONE_YET``."""


class _Renders(Protocol):
    def render(self, request: Request) -> Rendered: ...


class Middleware(Resource):
    """Resource whose ``render`` does its part and calls ``render`` of the ``inner`` resource."""

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        super().__init__()
        self.inner: _Renders = inner
