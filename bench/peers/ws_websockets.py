"""The package websockets, on uvloop: ``python -m bench.peers.ws_websockets PORT``.

At ``/echo`` a message is sent back; anywhere else it goes to everybody who is there.
"""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

_members: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    assert connection.request is not None
    if connection.request.path == "/echo":
        async for message in connection:
            await connection.send(message)
        return
    _members.add(connection)
    try:
        async for message in connection:
            broadcast(_members, message)
    finally:
        _members.discard(connection)


async def main(port: int) -> None:
    """Serve until a signal comes."""
    async with serve(handle, "127.0.0.1", port, compression=None, backlog=2048) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
