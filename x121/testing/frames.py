"""WebSocket frames (RFC 6455 section 5.2), as a client writes and reads them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "HANDSHAKE",
    "KEY",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "client_frame",
    "handshake",
    "server_frames",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = base64.b64encode(b"sixteen bytes ok").decode()
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


@dataclass(frozen=True)
class Frame:
    """Frame from the server."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """Code of a close frame."""
        (code,) = struct.unpack_from("!H", self.payload)
        return int(code)


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """Return a client's frame; the options can make it invalid."""
    length = len(payload)
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([masked << 7 | length])
    elif length < 65_536:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    repeated = (mask * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + number.to_bytes(length, "big")


def server_frames(data: bytes) -> list[Frame]:
    """Return the frames in ``data``, which must be complete, final and not masked."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80
        size, offset = data[1], 2
        if size == 126:
            (size,) = struct.unpack_from("!H", data, 2)
            offset = 4
        elif size == 127:
            (size,) = struct.unpack_from("!Q", data, 2)
            offset = 10
        assert len(data) >= offset + size
        frames.append(Frame(data[0] & 15, data[offset : offset + size]))
        data = data[offset + size :]
    return frames


def handshake(path: str = "/ws", headers: Mapping[str, str | None] | None = None) -> bytes:
    """Return a handshake; ``headers`` are added to it, and those that are None are removed."""
    lines = {"Host": "example.com", **HANDSHAKE, **(headers or {})}
    head = f"GET {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return head.encode("latin-1") + b"\r\n"
