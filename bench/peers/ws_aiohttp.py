"""WebSockets of aiohttp, on uvloop: ``python -m bench.peers.ws_aiohttp PORT``."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web

_members: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message back."""
    websocket = await _accept(request)
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


async def room(request: web.Request) -> web.WebSocketResponse:
    """Send every message to everybody."""
    websocket = await _accept(request)
    _members.add(websocket)
    try:
        async for message in websocket:
            for member in list(_members):
                await member.send_str(message.data)
    finally:
        _members.discard(websocket)
    return websocket


async def _accept(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(request)
    return websocket


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/echo", echo), web.get("/room", room)])
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=2048,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
