"""FastAPI, with handlers that return their responses, which it then need not validate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from bench.peers.asgi import Features
from bench.peers.features import error_body
from bench.peers.rows import open_pool, title_of

__all__ = ["app"]

pool: asyncpg.Pool


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have a pool while the application runs."""
    global pool
    async with open_pool() as pool:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(Features)


def json_response(value: Any) -> Response:
    """Answer with ``value``."""
    return Response(orjson.dumps(value), media_type="application/json")


@app.get("/health")
async def health() -> Response:
    """Say that the server is there."""
    return json_response({"status": "ok"})


@app.get("/items/{item_id}")
async def item(item_id: int) -> Response:
    """Answer with the number in the path."""
    return json_response({"id": item_id})


@app.post("/echo")
async def echo(request: Request) -> Response:
    """Answer with what was sent."""
    return json_response(orjson.loads(await request.body()))


@app.get("/rows/{row_id}")
async def row(row_id: int) -> Response:
    """Answer with a row of the database."""
    title = await title_of(pool, row_id)
    if title is None:
        raise HTTPException(404, "Resource not found")
    return json_response({"id": row_id, "title": title})


@app.get("/panic")
async def panic() -> Response:
    """Fail as nobody expects."""
    raise RuntimeError("nobody expects this")


@app.get("/slow")
async def slow() -> Response:
    """Take too long."""
    await asyncio.sleep(3600)
    return json_response(None)


@app.exception_handler(HTTPException)
async def http_error(_: Request, error: HTTPException) -> Response:
    """Answer an error in the one form."""
    code = "NOT_FOUND" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
    body = error_body(error.detail, code)
    return Response(body, error.status_code, error.headers, "application/json")
