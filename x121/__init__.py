"""A backend foundation on Twisted: HTTP, WebSockets and PostgreSQL on one reactor.

Everything that a feature needs is here: ``from x121 import Feature, Router, Model``.  A name is
imported from its module when it is first asked for, so ``import x121`` imports nothing else, and no
reactor.

To read the source, start in :mod:`x121.tap`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x121.application import Application, AppState, Check, Feature, command
    from x121.config import parsers, setting
    from x121.core.models import Id, Model, Text, Timestamp, optional
    from x121.core.types import DbId
    from x121.db.pool import Pool
    from x121.db.queryable import Queryable
    from x121.errors import (
        AppError,
        BadRequest,
        Conflict,
        Forbidden,
        InternalError,
        NotFound,
        PreconditionFailed,
        ServiceUnavailable,
        Unauthorized,
    )
    from x121.http.request import Request
    from x121.messaging.handlers import Event, Handlers, Message
    from x121.web.etags import ANY_VERSION, IfMatch
    from x121.web.operations import Body, Header, Query, Response
    from x121.web.pages import Cursor, Limit, Page, make_page
    from x121.web.responses import json_response
    from x121.web.router import Router
    from x121.ws.connection import WsConnection

__all__ = [
    "ANY_VERSION",
    "AppError",
    "AppState",
    "Application",
    "BadRequest",
    "Body",
    "Check",
    "Conflict",
    "Cursor",
    "DbId",
    "Event",
    "Feature",
    "Forbidden",
    "Handlers",
    "Header",
    "Id",
    "IfMatch",
    "InternalError",
    "Limit",
    "Message",
    "Model",
    "NotFound",
    "Page",
    "Pool",
    "PreconditionFailed",
    "Query",
    "Queryable",
    "Request",
    "Response",
    "Router",
    "ServiceUnavailable",
    "Text",
    "Timestamp",
    "Unauthorized",
    "WsConnection",
    "command",
    "json_response",
    "make_page",
    "optional",
    "parsers",
    "setting",
]

_MODULES = {
    "x121.web.etags": ("ANY_VERSION", "IfMatch"),
    "x121.web.operations": ("Response", "Body", "Header", "Query"),
    "x121.web.responses": ("json_response",),
    "x121.web.router": ("Router",),
    "x121.application": ("Application", "AppState", "Check", "Feature", "command"),
    "x121.config": ("parsers", "setting"),
    "x121.db.pool": ("Pool",),
    "x121.db.queryable": ("Queryable",),
    "x121.errors": (
        "AppError",
        "BadRequest",
        "Conflict",
        "Forbidden",
        "InternalError",
        "NotFound",
        "PreconditionFailed",
        "ServiceUnavailable",
        "Unauthorized",
    ),
    "x121.http.request": ("Request",),
    "x121.core.models": ("Id", "Model", "Text", "Timestamp", "optional"),
    "x121.web.pages": ("Cursor", "Limit", "Page", "make_page"),
    "x121.core.types": ("DbId",),
    "x121.ws.connection": ("WsConnection",),
    "x121.messaging.handlers": ("Event", "Handlers", "Message"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'x121' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found
