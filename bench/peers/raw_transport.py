"""A ceiling: uvloop's transport and llhttp's parser, and the same answer to whatever is asked.

``python -m bench.peers.raw_transport PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httptools
import uvloop

_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 15\r\n"
    b"\r\n"
    b'{"status":"ok"}'
)


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        # An attribute of the instance, before uvloop looks for it, once.
        self.data_received = httptools.HttpRequestParser(self).feed_data  # type: ignore[method-assign]

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._write = transport.write

    def on_message_complete(self) -> None:
        """Answer a request."""
        self._write(_ANSWER)


async def main(port: int) -> None:
    """Serve until a signal comes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
