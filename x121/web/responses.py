"""Responses that handlers return."""

from __future__ import annotations

from typing import Any

from twisted.web.iweb import IRequest

from x121.core import json_encoding

__all__ = ["json_response", "no_content"]


def json_response(request: IRequest, value: Any, status: int = 200) -> bytes:
    """Return ``value`` as JSON, for the handler to return, and set status and content type.

    Raises :class:`TypeError` for a value that can't be encoded as JSON.
    """
    body = json_encoding.encode(value)
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return body


def no_content(request: IRequest) -> bytes:
    """Return an empty body, for the handler to return, with status 204."""
    request.setResponseCode(204)
    return b""
