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

_log = Logger(namespace="x121.runtime.systemd")

_EXTENSION_SECS = 60


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
        self._extension: LoopingCall | None = None

    def starting(self) -> None:
        """Ask for more time until :meth:`ready`, again and again: migrations may take long.

        The unit's TimeoutStartSec is then for a process that says nothing.
        """
        self._extend()

    def status(self, line: str) -> None:
        """Say what goes on, for ``systemctl status``."""
        self._send(f"STATUS={line}")

    def ready(self) -> None:
        """Say that the service is up, and from now on that the reactor turns."""
        self._stop_extending()
        self._send("READY=1\nSTATUS=Serving")
        if self._address is not None and self._watchdog_secs is not None:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = self._clock
            # Half the time allowed, as sd_watchdog_enabled(3) advises.
            self._watchdog.start(self._watchdog_secs / 2)

    def stopping(self) -> None:
        """Say that the service is on its way down, and ask for the time that takes.

        The watchdog is fed until :meth:`close`.
        """
        self._send("STOPPING=1\nSTATUS=Stopping")
        self._stop_extending()
        self._extend()

    def close(self) -> None:
        """Stop feeding the watchdog, and ask for no more time."""
        self._stop_extending()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _extend(self) -> None:
        if self._address is not None:
            message = f"EXTEND_TIMEOUT_USEC={_EXTENSION_SECS * 1_000_000}"
            self._extension = LoopingCall(self._send, message)
            self._extension.clock = self._clock
            self._extension.start(_EXTENSION_SECS / 3)

    def _stop_extending(self) -> None:
        if self._extension is not None:
            self._extension.stop()
            self._extension = None

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
