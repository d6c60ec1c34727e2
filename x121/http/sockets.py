"""State and options of a connection's socket that its transport doesn't offer.

Transports in memory have no socket: they have no unread bytes, and never hang up.
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

# The kernel drops a connection whose client reads nothing for this long.  Clients that are only
# slow have a minimum rate (SendRate).
STUCK_CLIENT_SECS = 60

# The offset of tcpi_bytes_acked, a u64, in Linux's struct tcp_info (linux/tcp.h).
_BYTES_ACKED = 120
_INFO_BYTES = _BYTES_ACKED + 8


def acknowledged_bytes(transport: Any) -> int:
    """Return how many bytes the peer has acknowledged, or 0 if the system doesn't count them.

    Only Linux does, and only for TCP.
    """
    handle = _handle(transport)
    if handle is None or handle.family == socket.AF_UNIX or sys.platform != "linux":
        return 0
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    return int(struct.unpack_from("=Q", info, _BYTES_ACKED)[0]) if len(info) == _INFO_BYTES else 0


def bytes_to_read(transport: Any) -> int:
    """Return the number of received bytes that ``transport`` has not read."""
    handle = _handle(transport)
    if handle is None:
        return 0
    result = fcntl.ioctl(handle.fileno(), termios.FIONREAD, bytes(4))
    size: int = struct.unpack("i", result)[0]
    return size


def has_hung_up(transport: Any) -> bool:
    """Return True if both directions of a UNIX socket's connection are closed (poll(2)).

    After a half-close by the peer only one direction is closed.
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
    """Let the kernel drop a connection whose peer reads no data (tcp(7), TCP_USER_TIMEOUT)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    if option is not None:
        handle = _handle(transport)
        if handle is not None and handle.family != socket.AF_UNIX:
            handle.setsockopt(socket.IPPROTO_TCP, option, STUCK_CLIENT_SECS * 1000)


def _handle(transport: Any) -> socket.socket | None:
    handle: socket.socket | None = getattr(transport, "getHandle", lambda: None)()
    return handle
