"""Facts about a connection's socket that its transport doesn't tell, and an option.

Transports in memory have no socket: nothing waits in them, and nobody hangs up.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Any

__all__ = [
    "acknowledged_bytes",
    "bytes_to_read",
    "descriptor_of",
    "drop_when_stuck",
    "has_hung_up",
]

# A client that takes none of its answer for this long is gone: the kernel drops it.  For one that
# is merely slow there is a least rate (SendRate).
STUCK_CLIENT_SECS = 60

# Of Linux's struct tcp_info (linux/tcp.h): where tcpi_bytes_acked is, a u64.
_BYTES_ACKED = 120
_INFO_BYTES = _BYTES_ACKED + 8


def acknowledged_bytes(transport: Any) -> int:
    """Return how many bytes the peer has acknowledged, or 0 where the system doesn't tell.

    Linux does, of TCP.
    """
    handle = _handle(transport)
    if handle is None or handle.family == socket.AF_UNIX or sys.platform != "linux":
        return 0
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    return int(struct.unpack_from("=Q", info, _BYTES_ACKED)[0]) if len(info) == _INFO_BYTES else 0


def bytes_to_read(transport: Any) -> int:
    """Return how many bytes have arrived that ``transport`` has not read."""
    handle = _handle(transport)
    if handle is None:
        return 0
    answer = fcntl.ioctl(handle.fileno(), termios.FIONREAD, bytes(4))
    size: int = struct.unpack("i", answer)[0]
    return size


def has_hung_up(transport: Any) -> bool:
    """Return whether both directions of a connection over a UNIX socket are closed (poll(2)).

    A peer that only sends no more has closed one.
    """
    handle = _handle(transport)
    if handle is None:
        return False
    poll = select.poll()
    poll.register(handle.fileno(), 0)
    return bool(poll.poll(0))


def descriptor_of(transport: Any) -> int:
    """Return the file descriptor of a connection, or -1 if it has none."""
    handle = _handle(transport)
    return -1 if handle is None else handle.fileno()


def drop_when_stuck(transport: Any) -> None:
    """Let the kernel end a connection whose peer takes no data (tcp(7), TCP_USER_TIMEOUT)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    if option is not None:
        handle = _handle(transport)
        if handle is not None and handle.family != socket.AF_UNIX:
            handle.setsockopt(socket.IPPROTO_TCP, option, STUCK_CLIENT_SECS * 1000)


def _handle(transport: Any) -> socket.socket | None:
    handle: socket.socket | None = getattr(transport, "getHandle", lambda: None)()
    return handle
