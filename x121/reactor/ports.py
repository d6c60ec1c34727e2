"""Twisted's ports, with connections that uvloop serves.

Twisted does everything for the port: binding, accepting, errors, logging and stopping.  libuv would
accept only one connection per turn of its loop, however many wait.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IFileDescriptorReceiver

from x121.reactor.transport import TCPTransport, UNIXTransport

__all__ = ["TCPPort", "UNIXPort"]

# Accepting and starting a connection takes about 50 us: other events wait for 3 ms at most.
_MAX_ACCEPTS_PER_TURN = 64


class TCPPort(tcp.Port):
    """A TCP port, of IPv4 or IPv6."""

    transport = TCPTransport  # type: ignore[assignment]  # not Twisted's own

    def doRead(self) -> None:
        """Accept waiting connections, up to a constant limit.

        Twisted's limit follows the load: it is one connection after a quiet turn, and grows by 20
        with each turn that reaches it.
        """
        self.numberAccepts = _MAX_ACCEPTS_PER_TURN
        super().doRead()


def _unix_transport(socket: Any, protocol: Any, *args: Any) -> Any:
    passes_descriptors: bool = IFileDescriptorReceiver.providedBy(protocol)
    transport: Any = unix.Server if passes_descriptors else UNIXTransport
    return transport(socket, protocol, *args)


class UNIXPort(TCPPort, unix.Port):
    """A port on a UNIX socket.

    A protocol that provides ``IFileDescriptorReceiver`` is served by Twisted's transport, which can
    send and receive file descriptors; uvloop's can't.
    """

    transport = staticmethod(_unix_transport)  # type: ignore[assignment]
