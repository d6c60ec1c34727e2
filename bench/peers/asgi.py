"""The features as one pure ASGI middleware, for everything that speaks ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from bench.peers.features import (
    CLIENT_CLOSED_REQUEST,
    PREFLIGHT,
    REQUEST_ID,
    TIMEOUT_SECS,
    AccessLog,
    error_body,
    make_id,
    permission,
)

__all__ = ["App", "Features", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Features:
    """Serves ``app`` with a request id, an access log, CORS, a time-out and errors in one form."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.log = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        request_id = make_id()
        REQUEST_ID.set(request_id)
        extra = [(b"x-request-id", request_id.encode()), (b"vary", b"Origin")]
        origin = _header(scope, b"origin")
        if origin is not None:
            extra += _raw(permission(origin.decode("latin-1")))
        status, size = 0, 0

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            async with asyncio.timeout(TIMEOUT_SECS) as deadline:
                if origin is not None and _is_preflight(scope):
                    await _answer_preflight(answer, allowed=len(extra) > 2)
                else:
                    await self._app(scope, receive, answer)
        except Exception:
            if status:
                raise
            if deadline.expired():
                await _answer_error(answer, 408, "The request took too long", "REQUEST_TIMEOUT")
            else:
                self.log.exception(f"{scope['method']} {scope['path']} failed")
                await _answer_error(answer, 500, "Internal server error", "PANIC")
        finally:
            self.log.request(
                scope["method"],
                scope["path"],
                status or CLIENT_CLOSED_REQUEST,
                begun,
                size,
                scope["client"][0],
                request_id,
            )


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def _raw(headers: dict[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def _is_preflight(scope: Scope) -> bool:
    asked = _header(scope, b"access-control-request-method")
    return scope["method"] == "OPTIONS" and asked is not None


async def _answer_preflight(send: Send, *, allowed: bool) -> None:
    if not allowed:
        await _answer_error(send, 403, "The origin is not allowed", "FORBIDDEN")
        return
    await send({"type": "http.response.start", "status": 204, "headers": _raw(PREFLIGHT)})
    await send({"type": "http.response.body", "body": b""})


async def _answer_error(send: Send, status: int, message: str, code: str) -> None:
    body = error_body(message, code)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
