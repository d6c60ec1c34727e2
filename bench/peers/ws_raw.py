"""A ceiling: messages to everybody, on uvloop's transports, with nothing checked.

``python -m bench.peers.ws_raw PORT``.  It takes it that a handshake and a frame arrive whole, one
at a time, and that a frame is a masked text of 126 bytes to 64 KiB.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import Any

import uvloop

_KEY = re.compile(rb"\r\nSec-WebSocket-Key: (.*)\r\n")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_TEXT = 0x81
_members: set[Any] = set()


class Connection(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._write = transport.write

    def connection_lost(self, _: Exception | None) -> None:
        """Leave."""
        _members.discard(self._write)

    def data_received(self, data: bytes) -> None:
        """Take a handshake, or send a message to everybody."""
        if self._write in _members:
            frame = _unmasked(data)
            for write in _members:
                write(frame)
        elif key := _KEY.search(data):
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
            self._write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
            )
            _members.add(self._write)
        else:
            self._write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")


def _unmasked(frame: bytes) -> bytes:
    """Return a client's frame as a server sends it."""
    length, mask, masked = frame[2:4], frame[4:8], frame[8:]
    size = len(masked)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    payload = (int.from_bytes(masked) ^ key).to_bytes(size)
    return bytes((_TEXT, 126)) + length + payload


async def main(port: int) -> None:
    """Serve until a signal comes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
