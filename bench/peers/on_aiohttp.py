"""aiohttp on uvloop: ``python -m bench.peers.on_aiohttp PORT``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any

import asyncpg
import orjson
import uvloop
from aiohttp import web

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
from bench.peers.rows import find_row, open_pool

POOL: web.AppKey[asyncpg.Pool] = web.AppKey("POOL", asyncpg.Pool)
LOG: web.AppKey[AccessLog] = web.AppKey("LOG", AccessLog)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# --- routes -------------------------------------------------------------------------------


def json_response(value: Any) -> web.Response:
    """Answer with ``value``."""
    return web.Response(body=orjson.dumps(value), content_type="application/json")


async def health(_: web.Request) -> web.Response:
    """Say that the server is there."""
    return json_response({"status": "ok"})


async def item(request: web.Request) -> web.Response:
    """Answer with the number in the path."""
    return json_response({"id": int(request.match_info["item_id"])})


async def echo(request: web.Request) -> web.Response:
    """Answer with what was sent."""
    return json_response(orjson.loads(await request.read()))


async def row(request: web.Request) -> web.Response:
    """Answer with a row of the database."""
    found = await find_row(request.app[POOL], int(request.match_info["row_id"]))
    if found is None:
        raise web.HTTPNotFound(text="Resource not found")
    return json_response(dict(found))


async def panic(_: web.Request) -> web.Response:
    """Fail as nobody expects."""
    raise RuntimeError("nobody expects this")


async def slow(_: web.Request) -> web.Response:
    """Take too long."""
    await asyncio.sleep(3600)
    return json_response(None)


# --- what happens around every request ----------------------------------------------------


@web.middleware
async def features(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a request its id, its line in the log, CORS, a time-out and errors in one form."""
    begun = perf_counter()
    request_id = make_id()
    REQUEST_ID.set(request_id)
    log = request.app[LOG]
    status, size = CLIENT_CLOSED_REQUEST, 0
    try:
        response = await _answer(request, handler, log)
        headers = response.headers
        headers["X-Request-Id"] = request_id
        headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None:
            headers.update(permission(origin))
        status, size = response.status, response.content_length or 0
        return response
    finally:
        log.request(request.method, request.path, status, begun, size, request.remote, request_id)


async def _answer(request: web.Request, handler: Handler, log: AccessLog) -> web.StreamResponse:
    try:
        async with asyncio.timeout(TIMEOUT_SECS) as deadline:
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return _preflight(request)
            return await handler(request)
    except web.HTTPException as error:
        code = "NOT_FOUND" if error.status == 404 else "METHOD_NOT_ALLOWED"
        return _error(error.status, error.text or error.reason, code)
    except Exception:
        if deadline.expired():
            return _error(408, "The request took too long", "REQUEST_TIMEOUT")
        log.exception(f"{request.method} {request.path} failed")
        return _error(500, "Internal server error", "PANIC")


def _preflight(request: web.Request) -> web.Response:
    if not permission(request.headers.get("Origin")):
        return _error(403, "The origin is not allowed", "FORBIDDEN")
    return web.Response(status=204, headers=PREFLIGHT)


def _error(status: int, message: str, code: str) -> web.Response:
    body = error_body(message, code)
    return web.Response(status=status, body=body, content_type="application/json")


# --- the server ---------------------------------------------------------------------------


async def database(app: web.Application) -> AsyncIterator[None]:
    """Have a pool while the application runs."""
    async with open_pool() as app[POOL]:
        yield


def make_app() -> web.Application:
    """Return the application."""
    app = web.Application(middlewares=[features])
    app[LOG] = AccessLog()
    app.cleanup_ctx.append(database)
    app.add_routes(
        [
            web.get("/health", health),
            web.get(r"/items/{item_id:\d+}", item),
            web.post("/echo", echo),
            web.get(r"/rows/{row_id:\d+}", row),
            web.get("/panic", panic),
            web.get("/slow", slow),
        ]
    )
    return app


if __name__ == "__main__":
    web.run_app(
        make_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
