"""Starlette: ``app`` is for any server that speaks ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers.asgi import Features
from bench.peers.features import error_body
from bench.peers.rows import find_row, open_pool

__all__ = ["app"]

pool: asyncpg.Pool


def json_response(value: Any) -> Response:
    """Answer with ``value``."""
    return Response(orjson.dumps(value), media_type="application/json")


async def health(_: Request) -> Response:
    """Say that the server is there."""
    return json_response({"status": "ok"})


async def item(request: Request) -> Response:
    """Answer with the number in the path."""
    return json_response({"id": request.path_params["item_id"]})


async def echo(request: Request) -> Response:
    """Answer with what was sent."""
    return json_response(orjson.loads(await request.body()))


async def row(request: Request) -> Response:
    """Answer with a row of the database."""
    found = await find_row(pool, request.path_params["row_id"])
    if found is None:
        raise HTTPException(404, "Resource not found")
    return json_response(dict(found))


async def panic(_: Request) -> Response:
    """Fail as nobody expects."""
    raise RuntimeError("nobody expects this")


async def slow(_: Request) -> Response:
    """Take too long."""
    await asyncio.sleep(3600)
    return json_response(None)


async def http_error(_: Request, error: HTTPException) -> Response:
    """Answer an error in the one form."""
    code = "NOT_FOUND" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
    body = error_body(error.detail, code)
    return Response(body, error.status_code, error.headers, "application/json")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Have a pool while the application runs."""
    global pool
    async with open_pool() as pool:
        yield


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/items/{item_id:int}", item),
        Route("/echo", echo, methods=["POST"]),
        Route("/rows/{row_id:int}", row),
        Route("/panic", panic),
        Route("/slow", slow),
    ],
    middleware=[Middleware(Features)],
    exception_handlers={HTTPException: http_error},
    lifespan=lifespan,
)
