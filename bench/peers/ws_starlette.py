"""WebSockets of Starlette, on uvicorn: an echo, and a room where a message goes to everybody."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

__all__ = ["app"]

_members: set[WebSocket] = set()


async def echo(websocket: WebSocket) -> None:
    """Send every message back."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def room(websocket: WebSocket) -> None:
    """Send every message to everybody."""
    await websocket.accept()
    _members.add(websocket)
    try:
        async for text in websocket.iter_text():
            for member in list(_members):
                await member.send_text(text)
    finally:
        _members.discard(websocket)


app = Starlette(routes=[WebSocketRoute("/echo", echo), WebSocketRoute("/room", room)])
