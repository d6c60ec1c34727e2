"""WebSockets belong to the reactor's thread, and to use them in another is an error."""

from __future__ import annotations

import threading

from twisted.python import threadable

__all__ = ["WrongThread", "check_thread"]


class WrongThread(RuntimeError):
    """WebSockets were used outside of the reactor's thread."""


def check_thread(what: str) -> None:
    """Raise :class:`WrongThread` if this isn't the reactor's thread."""
    if threadable.ioThread not in (None, threading.get_ident()):
        raise WrongThread(
            f"{what} was used in the thread {threading.current_thread().name!r}: return what"
            " is to be sent from deferToThread, and send it where that is awaited"
        )
