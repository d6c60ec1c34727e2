"""Tells systemd how we are: sd_notify(3), which is one datagram a message.

The packages for it are unmaintained or want a compiler and systemd's headers, so these few
lines are ours.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notifier"]

_log = Logger(namespace="x121.systemd")


class Notifier:
    """Sends messages to the service manager, and does nothing where there is none.

    ``environ`` is where the service manager says how it listens: ``NOTIFY_SOCKET``, and
    ``WATCHDOG_USEC`` with ``WATCHDOG_PID`` if it wants to hear from us regularly.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: IReactorTime) -> None:
        self._address = _socket_address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_secs = _watchdog_secs(environ)
        self._clock = clock
        self._watchdog: LoopingCall | None = None

    def ready(self) -> None:
        """Say that the service is up, and from now on that the reactor turns."""
        self._send("READY=1")
        if self._address is not None and self._watchdog_secs is not None:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = self._clock
            # Half the time allowed, as sd_watchdog_enabled(3) advises.
            self._watchdog.start(self._watchdog_secs / 2)

    def stopping(self) -> None:
        """Say that the service is on its way down.  The watchdog is fed until :meth:`close`."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Stop feeding the watchdog."""
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
                datagrams.setblocking(False)
                datagrams.sendto(message.encode(), self._address)
        except OSError as error:
            _log.warn("systemd was not told {message}: {error}", message=message, error=error)


def _socket_address(text: str) -> str | None:
    """Return the address as ``sendto`` wants it: ``@`` stands for the abstract namespace."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_secs(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for another process
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
