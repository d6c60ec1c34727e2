"""WebSocket as far as a load needs it (RFC 6455): nothing is checked that the load can't meet."""

from __future__ import annotations

import base64
import enum

__all__ = ["Opcode", "frame_size", "handshake", "make_frame", "split"]

_MASK = b"\x5a\xa5\x3c\xc3"


class Opcode(enum.IntEnum):
    """What a frame is."""

    TEXT = 1
    CLOSE = 8
    PING = 9
    PONG = 10


def handshake(path: str) -> bytes:
    """Return the request for a WebSocket."""
    fields = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"one key for all!").decode(),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def make_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a whole message from a client: in one frame, and masked."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8)
    mask = (_MASK * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload) ^ int.from_bytes(mask)
    return head + _MASK + masked.to_bytes(size)


def frame_size(size: int) -> int:
    """Return how long a whole message of ``size`` bytes is, from a server: without a mask."""
    return size + (2 if size < 126 else 4 if size < 1 << 16 else 10)


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the opcode and payload of each whole frame of a server's, and what is left."""
    frames = []
    start, end = 0, len(data)
    while end - start >= 2:
        size, head = data[start + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if end - start < head:
                break
            size = int.from_bytes(data[start + 2 : start + head])
        if end - start < head + size:
            break
        body = start + head
        frames.append((data[start] & 15, data[body : body + size]))
        start = body + size
    return frames, data[start:]
