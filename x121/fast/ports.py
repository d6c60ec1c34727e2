"""Ports of Twisted's whose connections uvloop accepts and serves.

Binding, names, errors, adopted sockets, logging and stopping are Twisted's own.  What differs is
how a port reads: uvloop accepts on a duplicate of its socket, which takes half the time that
accepting in Python does.  When file descriptors run out, libuv closes what it cannot serve with a
descriptor that it keeps in reserve, as Twisted does, but silently: the port warns just before.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.logger import Logger
from twisted.python.log import callWithLogger

from x121.fast.addresses import scoped
from x121.fast.transport import TCPTransport, UNIXTransport

__all__ = ["StaysPausedError", "TCPPort", "UNIXPort"]

_log = Logger(namespace="x121.fast.ports")

# The lowest free descriptor is always the next: one that is so close to the limit is of the last.
_LAST_DESCRIPTORS = 8
_WARN_EVERY_SECS = 60.0


class StaysPausedError(Exception):
    """Keeps uvloop from reading: it begins when ``connection_made`` returns, paused or not."""


class _Greeter:
    """What uvloop takes for the protocol of a connection that has just been accepted."""

    def __init__(self, welcome: Callable[[asyncio.Transport], None]) -> None:
        self.connection_made = welcome

    def data_received(self, data: bytes) -> None:
        """Never called: a connection that is refused is not read."""

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of a connection that was refused."""


class TCPPort(tcp.Port):
    """A TCP port, of IPv4 or IPv6."""

    transport: type[TCPTransport] = TCPTransport  # type: ignore[assignment]  # not Twisted's own
    reactor: Any  # a UvloopReactor
    factory: Any
    _listener: Any = None
    _descriptor_limit = 0
    _warned_at: float | None = None

    def startReading(self) -> None:
        """Accept connections."""
        if self._listener is None:
            greeter = _Greeter(self._welcome)
            self._descriptor_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._listener = self.reactor.accept(self.socket.dup(), lambda: greeter, self.backlog)
            self.reactor.ports.add(self)

    def stopReading(self) -> None:
        """Leave connections to the kernel, which lets ``backlog`` of them wait."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            self.reactor.ports.discard(self)

    def _welcome(self, stream: asyncio.Transport) -> None:
        """Serve a connection that uvloop has accepted, or close it."""
        transport = callWithLogger(self, self._begin, stream)
        if transport is None:
            stream.abort()
        elif not transport.is_reading:
            raise StaysPausedError

    def _begin(self, stream: asyncio.Transport) -> TCPTransport | None:
        """Return the transport of a connection, or None if this is not to serve it."""
        client = scoped(stream.get_extra_info("peername"))
        if client is None or self.disconnecting or not self.connected:
            return None  # the peer is gone already, or the port
        self._watch_descriptors(stream.get_extra_info("socket").fileno())
        protocol = self.factory.buildProtocol(self._buildAddr(client))
        if protocol is None:
            return None
        number = self.sessionno
        self.sessionno = number + 1
        return self._serve(stream, protocol, client, number)

    def _serve(
        self, stream: asyncio.Transport, protocol: Any, client: Any, number: int
    ) -> TCPTransport | None:
        transport = self.transport(stream, protocol, client, self, number, self.reactor)
        # As with Twisted's ports, a protocol that fails to begin keeps its connection.
        callWithLogger(self, protocol.makeConnection, transport)
        return transport

    def _watch_descriptors(self, taken: int) -> None:
        """Warn, once in a while, that connections will be closed for want of descriptors."""
        if 0 <= self._descriptor_limit - _LAST_DESCRIPTORS <= taken:
            now = self.reactor.seconds()
            if self._warned_at is None or now - self._warned_at >= _WARN_EVERY_SECS:
                self._warned_at = now
                _log.warn(
                    "Nearly all {limit} file descriptors are in use: connections for which there is"
                    " none are closed at once (see RLIMIT_NOFILE)",
                    limit=self._descriptor_limit,
                )


class UNIXPort(TCPPort, unix.Port):
    """A port at a UNIX socket.

    A protocol that provides ``IFileDescriptorReceiver`` is served by Twisted's own transport, which
    passes descriptors in both directions; uvloop's passes none.
    """

    transport = UNIXTransport  # type: ignore[assignment]  # unix.Port has another

    def _serve(
        self, stream: asyncio.Transport, protocol: Any, client: Any, number: int
    ) -> TCPTransport | None:
        passes_descriptors: bool = IFileDescriptorReceiver.providedBy(protocol)
        if not passes_descriptors:
            return super()._serve(stream, protocol, client, number)
        own = stream.get_extra_info("socket").dup()
        transport = unix.Server(own, protocol, client, self, number, self.reactor)
        callWithLogger(self, protocol.makeConnection, transport)
        return None
