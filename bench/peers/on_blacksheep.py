"""BlackSheep on uvicorn: it binds paths and bodies, and uses orjson.

A body is bound as a ``dict``: a dataclass would cost it 17 us more, and check nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
from blacksheep import Application, Content, FromJSON, Request, Response
from blacksheep.exceptions import HTTPException, NotFound
from blacksheep.settings.json import json_settings

from bench.peers.asgi import Features
from bench.peers.features import error_body
from bench.peers.rows import find_row, open_pool

__all__ = ["app"]

json_settings.use(loads=orjson.loads)
application = Application()
pool: asyncpg.Pool


@application.lifespan
async def database() -> AsyncIterator[None]:
    """Have a pool while the application runs."""
    global pool
    async with open_pool() as pool:
        yield


def json_response(value: Any) -> Response:
    """Answer with ``value``."""
    return Response(200, content=Content(b"application/json", orjson.dumps(value)))


@application.router.get("/health")
async def health() -> Response:
    """Say that the server is there."""
    return json_response({"status": "ok"})


@application.router.get("/items/{int:item_id}")
async def item(item_id: int) -> Response:
    """Answer with the number in the path."""
    return json_response({"id": item_id})


@application.router.post("/echo")
async def echo(order: FromJSON[dict[str, Any]]) -> Response:
    """Send an order back."""
    return json_response(order.value)


@application.router.get("/rows/{int:row_id}")
async def row(row_id: int) -> Response:
    """Answer with a row of the database."""
    found = await find_row(pool, row_id)
    if found is None:
        raise NotFound("Resource not found")
    return json_response(dict(found))


@application.router.get("/panic")
async def panic() -> Response:
    """Fail as nobody expects."""
    raise RuntimeError("nobody expects this")


@application.router.get("/slow")
async def slow() -> Response:
    """Take too long."""
    await asyncio.sleep(3600)
    return json_response(None)


async def not_found(_app: Application, _request: Request, error: HTTPException) -> Response:
    """Answer an error in the one form."""
    body = error_body(str(error) or "There is nothing at this path", "NOT_FOUND")
    return Response(404, content=Content(b"application/json", body))


async def failed(_: Application, request: Request, _error: HTTPException) -> Response:
    """Log an exception that nobody expects: it doesn't come as far as the middleware."""
    app.log.exception(f"{request.method} {request.path} failed")
    body = error_body("Internal server error", "PANIC")
    return Response(500, content=Content(b"application/json", body))


application.exceptions_handlers[404] = not_found
application.exceptions_handlers[500] = failed
app = Features(application)
