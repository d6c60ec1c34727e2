"""Middleware around every request, and its order.

From the outside in:

1. ``request_id``: all other middleware and every log line use the id.
2. ``access_log``: sees every response, including those of the middleware below.
3. ``cors``: outside ``errors`` and ``timeout``, so that their responses carry its headers.
4. ``errors``: turns every failure further in into the same JSON error response.
5. ``server_names``, if configured: rejects requests for other hosts.
6. ``cross_site``: rejects writes sent by pages of other sites.
7. ``body_limit``: rejects a body that is too large; ``errors`` responds.
8. ``timeout``: closest to the handler, whose time it measures.
9. The application's own middleware.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from x121.config import ServerConfig
from x121.middleware.access_log import AccessLog
from x121.middleware.base import Middleware
from x121.middleware.body_limit import BodyLimit
from x121.middleware.cors import Cors
from x121.middleware.cross_site import CrossSite
from x121.middleware.errors import Errors
from x121.middleware.request_id import RequestId
from x121.middleware.server_names import ServerNames
from x121.middleware.timeout import Timeout

__all__ = ["build_stack", "stack_names"]


def build_stack(
    resource: IResource,
    config: ServerConfig,
    *,
    clock: IReactorTime,
    now: Callable[[], float],
    request_headers: Sequence[str] = (),
    response_headers: Sequence[str] = (),
) -> IResource:
    """Return ``resource`` inside all middleware, added from the inside out.

    ``request_headers`` and ``response_headers`` are passed to
    :class:`~x121.middleware.cors.Cors`.
    """
    resource = Timeout(resource, request_timeout_secs=config.request_timeout_secs, clock=clock)
    resource = BodyLimit(resource, max_body_bytes=config.max_body_bytes)
    resource = CrossSite(resource, cors_origins=config.cors_origins)
    if config.server_names:
        resource = ServerNames(resource, server_names=config.server_names)
    resource = Errors(resource)
    resource = Cors(
        resource,
        cors_origins=config.cors_origins,
        request_headers=request_headers,
        response_headers=response_headers,
    )
    resource = AccessLog(resource, clock=clock, now=now)
    return RequestId(resource)


def stack_names(resource: IResource) -> list[str]:
    """Return the names of the middleware around ``resource``, from the outside in."""
    names = []
    inner: object = resource
    while isinstance(inner, Middleware):
        names.append(type(inner).__name__)
        inner = inner.inner
    return names
