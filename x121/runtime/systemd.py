"""Notifies systemd of the server's state: sd_notify(3), one datagram per message.

The packages for this are unmaintained, or need a compiler and systemd's headers.
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
    """Sends messages to the service manager; does nothing if there is none.

    ``environ`` has the service manager's address, ``NOTIFY_SOCKET``, and if it expects regular
    watchdog messages, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: IReactorTime) -> None:
        self._address = _socket_address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_secs = _watchdog_secs(environ)
        self._clock = clock
        self._watchdog: LoopingCall | None = None
        self._extension: LoopingCall | None = None

    def starting(self) -> None:
        """Extend the start timeout repeatedly until :meth:`ready`: migrations may take long.

        The unit's TimeoutStartSec then applies only to a process that sends nothing.
        """
        self._extend()

    def status(self, line: str) -> None:
        """Send the current activity, for ``systemctl status``."""
        self._send(f"STATUS={line}")

    def ready(self) -> None:
        """Report that the service is up, and from now on regularly that the reactor is running."""
        self._stop_extending()
        self._send("READY=1\nSTATUS=Serving")
        if self._address is not None and self._watchdog_secs is not None:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = self._clock
            # Half the allowed time, as sd_watchdog_enabled(3) advises.
            self._watchdog.start(self._watchdog_secs / 2)

    def stopping(self) -> None:
        """Report that the service is stopping, and extend the stop timeout.

        The watchdog messages continue until :meth:`close`.
        """
        self._send("STOPPING=1\nSTATUS=Stopping")
        self._stop_extending()
        self._extend()

    def close(self) -> None:
        """Stop the watchdog messages and the timeout extensions."""
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
            _log.warn("Could not send {message} to systemd: {error}", message=message, error=error)


def _socket_address(text: str) -> str | None:
    """Return the address for ``sendto``: ``@`` stands for the abstract namespace."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_secs(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # for another process
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
