"""Assembles what serves HTTP: every middleware around the routes, and the site around those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.resource import IResource

from x121.application import Application, AppState
from x121.config import AppConfig
from x121.core.json_decoding import JsonLimits
from x121.http.channel import Channel
from x121.http.site import Site
from x121.middleware import build_stack
from x121.middleware.pipeline import make_pipeline
from x121.web.dispatch import RoutingResource
from x121.web.router import Router

__all__ = ["make_resource", "make_site"]


def make_resource(routes: Router, application: Application, state: AppState) -> IResource:
    """Return the tree of resources: every middleware around ``routes``."""
    resource: IResource = RoutingResource(routes)
    for make in reversed(application.middleware):
        resource = make(resource, state)
    return build_stack(
        resource,
        state.config.server,
        clock=state.clock,
        now=state.now,
        request_headers=application.cors_request_headers,
        response_headers=application.cors_response_headers,
    )


def make_site(
    resource: IResource,
    config: AppConfig,
    *,
    clock: Any,
    now: Callable[[], float],
    make_channel: Callable[[], Channel] = Channel,
) -> Site:
    """Return the site that serves ``resource`` within the configured limits."""
    server = config.server
    return Site(
        resource,
        clock=clock,
        now=now,
        max_body_bytes=server.max_body_bytes,
        json_limits=JsonLimits(server.max_json_bytes, server.max_json_values),
        header_timeout_secs=server.header_timeout_secs,
        request_timeout_secs=server.request_timeout_secs,
        keepalive_timeout_secs=server.keepalive_timeout_secs,
        min_send_bytes_per_sec=server.min_send_bytes_per_sec,
        trusted_proxies=server.trusted_proxies,
        make_channel=make_channel,
        pipeline=make_pipeline(resource),
    )
