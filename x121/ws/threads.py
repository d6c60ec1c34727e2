"""Thread check: WebSockets may be used only in the reactor's thread."""

from __future__ import annotations

import threading
from threading import get_ident
from typing import Any

from twisted.python import threadable

__all__ = ["WrongThread", "check_thread"]


class WrongThread(RuntimeError):
    """A WebSocket was used outside the reactor's thread."""


def check_thread(what: str) -> None:
    """Raise :class:`WrongThread` if this isn't the reactor's thread."""
    thread: Any = threadable.ioThread
    if thread is not None and thread != get_ident():
        raise WrongThread(
            f"{what} was used in the thread {threading.current_thread().name!r} (expected the"
            " reactor's thread): return the data from deferToThread, and send it after the await"
        )
