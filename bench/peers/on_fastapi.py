"""FastAPI, with models as inputs and results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from bench.peers.asgi import Features
from bench.peers.features import error_body
from bench.peers.models import Health, Item, Order, Row
from bench.peers.rows import find_row, open_pool

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


@app.get("/health")
async def health() -> Health:
    """Say that the server is there."""
    return Health(status="ok")


@app.get("/items/{item_id}")
async def item(item_id: int) -> Item:
    """Show an item."""
    return Item(id=item_id)


@app.post("/echo")
async def echo(order: Order) -> Order:
    """Send an order back."""
    return order


@app.get("/rows/{row_id}")
async def row(row_id: int) -> Row:
    """Show a row of the database."""
    found = await find_row(pool, row_id)
    if found is None:
        raise HTTPException(404, "Resource not found")
    return Row(**found)


@app.get("/panic")
async def panic() -> None:
    """Fail as nobody expects."""
    raise RuntimeError("nobody expects this")


@app.get("/slow")
async def slow() -> None:
    """Take too long."""
    await asyncio.sleep(3600)


@app.exception_handler(HTTPException)
async def http_error(_: Request, error: HTTPException) -> Response:
    """Answer an error in the one form."""
    code = "NOT_FOUND" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
    body = error_body(error.detail, code)
    return Response(body, error.status_code, error.headers, "application/json")
