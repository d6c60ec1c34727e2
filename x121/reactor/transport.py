"""Twisted transports for connections that uvloop serves.

:class:`TCPTransport` connects a Twisted protocol, whose transport it is, with a uvloop transport,
whose asyncio protocol it is.  To the Twisted protocol it behaves like
``twisted.internet.tcp.Server``; uvloop does the input and output.

- Input goes from uvloop to ``dataReceived`` through one method, :meth:`data_received`.
- Output of one turn of the reactor is sent in one piece at its end, as in Twisted.  uvloop (from
  0.23 on) makes a system call, and usually a segment, for every write.  A client on the same
  machine that wakes up for each response takes a fifth of the server's time.
- uvloop reports when it could not send everything, and when it has: its high-water mark is 0 bytes.
  Closing, half-closing and producers wait for that.

uvloop turns Nagle's algorithm off, and unlike in Twisted it stays off: output is already joined
here, and the last part of a long response would wait for the peer's delayed acknowledgement.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITLSTransport,
)
from twisted.logger import Logger
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext, callWithLogger
from zope.interface import implementer

from x121.reactor.addresses import tcp_address

if TYPE_CHECKING:
    from x121.reactor.reactor import UvloopReactor

__all__ = ["StaysPausedError", "TCPTransport", "UNIXTransport"]

_log = Logger(namespace="x121.reactor.transport")

# As in Twisted, all connections share these failures, which have no details.
_DONE = Failure(ConnectionDone())
_LOST = Failure(ConnectionLost())

# uvloop reads from one connection up to 32 times in a turn, while each read fills its buffer of
# 250 KiB.  After a read of this size, other connections have their turn first.
_LARGE_READ = 131_072

# Joining small pieces takes less time than passing them to the kernel one by one.
_MAX_JOINED_BYTES = 16_384

# Closing a socket with a linger time of 0 resets its connection (socket(7)).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# The methods that go through TLS once it is started.
_THROUGH_TLS = (
    "write",
    "writeSequence",
    "loseConnection",
    "registerProducer",
    "unregisterProducer",
)


class StaysPausedError(Exception):
    """Keeps uvloop from reading, which starts when ``connection_made`` returns, paused or not."""


@implementer(
    ITLSTransport,
    IConsumer,
    IPushProducer,
    IHalfCloseableDescriptor,
    ISystemHandle,
    ILoggingContext,
)
class TCPTransport:
    """Serves ``protocol`` over ``socket``, a connection that has just been accepted.

    ``client`` is the peer's address in the socket module's form, ``server`` the port that accepted
    the connection, and ``sessionno`` its number there.  ``reactor`` keeps the transport until the
    connection is lost.

    ``socket`` is only for its options: uvloop reads, writes and closes it, from the reactor's next
    turn on.  Until then output and closing wait.
    """

    connected = True
    disconnected = False
    disconnecting = False

    producer: Any = None
    producerPaused = False
    streamingProducer = False
    bufferSize = 65_536  # a streaming producer is paused while more than that waits

    protocol: Any

    def __init__(
        self,
        socket: sockets.socket,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: UvloopReactor,
    ) -> None:
        self.protocol = protocol
        self.client = client
        self.server = server
        self.sessionno = sessionno
        self.reactor = reactor
        self.is_reading = True
        self._protocol_name = type(protocol).__name__
        self.socket = _Socket(socket.family, socket.type, socket.proto, socket.detach())
        self._stream: Any = None  # an asyncio.Transport
        self._input_ended = False
        self._is_writable = True
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._will_send = False
        self._is_blocked = False  # some of what was sent still waits in uvloop
        self._writeDisconnecting = False
        self._writeDisconnected = False
        self._aborting = False
        self._prepare_log()
        reactor.open_stream(self)
        reactor.connections.add(self)

    def connection_made(self, stream: asyncio.Transport) -> None:
        """Apply a close or pause that was requested before uvloop had its transport."""
        self._stream = self.socket.stream = stream
        stream.set_write_buffer_limits(high=0)
        if self.disconnected:
            self._close_stream()
        elif self.socket.is_closed:
            stream.abort()
        elif not self.is_reading:
            raise StaysPausedError

    def __repr__(self) -> str:
        return f"<{self._protocol_name} #{self.sessionno} on {self.server._realPortNumber}>"

    # --- the log ---

    def _prepare_log(self) -> None:
        protocol = self.protocol
        has_prefix = ILoggingContext.providedBy(protocol)
        prefix = protocol.logPrefix() if has_prefix else self._protocol_name
        self.logstr = f"{prefix},{self.sessionno},{self.hostname}"
        tracker = context.theContextTracker.currentContext()
        self._log_contexts = tracker.contexts
        self._log_context = {
            ILogContext: {**tracker.getContext(ILogContext), "system": self.logstr}
        }

    def logPrefix(self) -> str:
        """Return the prefix of this connection's log lines."""
        return self.logstr

    # --- addresses, and the socket ---

    @property
    def hostname(self) -> Any:
        """The peer's address as text."""
        return self.client[0]

    def getPeer(self) -> Any:
        """Return the peer's address."""
        return tcp_address(self.client)

    def getHost(self) -> Any:
        """Return the local address of the connection."""
        return tcp_address(self.socket.getsockname())

    def getHandle(self) -> sockets.socket:
        """Return the socket; after ``startTLS()`` it is the TLS connection."""
        return self.socket

    def fileno(self) -> int:
        """Return the socket's file descriptor, or -1 when it is closed."""
        return -1 if self.disconnected else self.socket.fileno()

    def getTcpNoDelay(self) -> bool:
        """Return True if small writes are sent at once, which is the default."""
        return bool(self.socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once, or let the kernel join them (RFC 896)."""
        self.socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Return True if the kernel sends keep-alive probes to a silent peer."""
        return bool(self.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Make the kernel send keep-alive probes to a silent peer, or not."""
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, enabled)

    # --- input ---

    def data_received(self, data: bytes) -> None:
        """Pass input from uvloop to the protocol."""
        self._log_contexts.append(self._log_context)  # like callWithLogger, but faster
        try:
            self.protocol.dataReceived(data)
        except BaseException:
            self._protocol_failed()
        finally:
            self._log_contexts.pop()
        if len(data) >= _LARGE_READ and self.is_reading:
            self._stream.pause_reading()
            self.reactor.callLater(0, self._read_on)

    def _read_on(self) -> None:
        if self.is_reading:
            self._stream.resume_reading()

    def eof_received(self) -> bool:
        """Handle the end of input; return True, so that uvloop doesn't close the connection."""
        callWithLogger(self, self.readConnectionLost, _DONE)
        return True

    def readConnectionLost(self, reason: Failure) -> None:
        """Notify a protocol that supports half-close; for any other, close the connection."""
        self._input_ended = True
        self.is_reading = False
        protocol: Any = IHalfCloseableProtocol(self.protocol, None)
        if protocol is None:
            self.connectionLost(reason)
            return
        try:
            protocol.readConnectionLost()
        except BaseException:
            self._protocol_failed()

    def startReading(self) -> None:
        """Pass input to the protocol, unless it has ended."""
        if self.connected and not self._input_ended and not self._aborting:
            self.is_reading = True
            if self._stream is not None:
                self._stream.resume_reading()

    def stopReading(self) -> None:
        """Leave input in the kernel, which slows the sender down."""
        self.is_reading = False
        if self.connected and self._stream is not None:
            self._stream.pause_reading()

    def resumeProducing(self) -> None:
        """Continue reading, unless the connection is being closed."""
        if not self.disconnecting:
            self.startReading()

    def pauseProducing(self) -> None:
        """Stop reading for now."""
        self.stopReading()

    def stopProducing(self) -> None:
        """Close the connection."""
        self.loseConnection()

    # --- output ---

    @property
    def is_writing(self) -> bool:
        """True if output is unsent, or an action waits until it is sent."""
        return self.connected and (self._will_send or self._is_blocked)

    def write(self, data: bytes) -> None:
        """Send ``data``; do nothing if the output has ended.

        Raises :class:`TypeError` if ``data`` is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if data and self._is_writable:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
            if not self._will_send:
                self._will_send = True
                self.reactor.send_soon(self)
            if self.streamingProducer and (
                self._is_blocked or self._unsent_bytes > self.bufferSize
            ):
                self._pause_if_full()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of ``iovec``, like :meth:`write`."""
        pieces = list(iovec)
        if not all(isinstance(piece, bytes) for piece in pieces):
            raise TypeError("Data must be bytes")
        self.write(b"".join(pieces))

    def _send_soon(self) -> None:
        if not self._will_send:
            self._will_send = True
            self.reactor.send_soon(self)

    def send(self) -> None:
        """Send the output of this turn; the reactor calls this at the turn's end."""
        self._will_send = False
        if not self.connected or self._aborting:
            return
        stream = self._stream
        if stream is None:
            self._send_soon()
            return
        pieces = self._unsent
        if pieces:
            size = self._unsent_bytes
            self._unsent, self._unsent_bytes = [], 0
            if len(pieces) == 1:
                stream.write(pieces[0])
            elif size <= _MAX_JOINED_BYTES:
                stream.write(b"".join(pieces))
            else:
                stream.writelines(pieces)
        if not self._is_blocked and (
            self.producerPaused
            or self.disconnecting
            or self._writeDisconnecting
            or (self.producer is not None and not self.streamingProducer)
        ):
            self._all_sent()

    def pause_writing(self) -> None:
        """Note that uvloop could not send everything."""
        self._is_blocked = True

    def resume_writing(self) -> None:
        """Continue with the actions that waited until uvloop had sent everything."""
        self._is_blocked = False
        if self.connected and not self._aborting and not self._will_send:
            self._all_sent()

    # --- actions that wait until everything is sent: producers, and the end ---

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let ``producer`` write as fast as the peer reads.

        A streaming producer is paused when more than ``bufferSize`` bytes wait, and resumed when
        none do.  Any other producer is resumed now, and whenever all its output is sent.  It is
        stopped when the connection is lost.  Raises :class:`RuntimeError` if another producer is
        registered.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"cannot register producer {producer}: {self.producer} was never unregistered"
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.producerPaused = False
        self.streamingProducer = streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Remove the producer, and close the connection if closing was waiting for it."""
        self.producer = None
        if self.connected and self.disconnecting:
            self._send_soon()

    def _pause_if_full(self) -> None:
        """Pause a streaming producer that is faster than the peer.

        Each write checks this, as in Twisted, because an HTTP channel may have a new producer.
        """
        if self.producer is None:
            return
        waiting = self._unsent_bytes
        if self._is_blocked:
            waiting += self._stream.get_write_buffer_size()
        if waiting > self.bufferSize:
            self.producerPaused = True
            self.producer.pauseProducing()

    def _all_sent(self) -> None:
        """Do the next waiting action, in the order of Twisted's ``FileDescriptor.doWrite``."""
        if self._stream.is_closing():
            return  # not sent: the peer disconnected, which uvloop reports next
        if self.producer is not None and (not self.streamingProducer or self.producerPaused):
            callWithLogger(self, self._resume_producer)
        elif self.disconnecting:
            callWithLogger(self, self.connectionLost, _DONE)
        elif self._writeDisconnecting and not self._writeDisconnected:
            callWithLogger(self, self._end_output)

    def _resume_producer(self) -> None:
        self.producerPaused = False
        try:
            self.producer.resumeProducing()
        except BaseException:
            self._protocol_failed()

    # --- the end ---

    def loseConnection(self) -> None:
        """Close the connection when everything is sent and no producer is registered.

        As in Twisted, it is closed at once if the output has already ended.
        """
        if self.connected and not self.disconnecting:
            self.stopReading()
            if self._writeDisconnected:
                self.connectionLost(_DONE)
            else:
                self.disconnecting = True
                self._send_soon()

    def loseWriteConnection(self) -> None:
        """Half-close the connection when everything is sent; continue reading."""
        self._writeDisconnecting = True
        self._send_soon()

    def _end_output(self) -> None:
        self._writeDisconnected = True
        self._is_writable = False
        self._stream.write_eof()
        protocol: Any = IHalfCloseableProtocol(self.protocol, None)
        if protocol is None:
            return
        try:
            protocol.writeConnectionLost()
        except BaseException:
            self._protocol_failed()

    def writeConnectionLost(self, reason: Failure) -> None:
        """Close the connection; to end only the output, call ``loseWriteConnection``."""
        self.connectionLost(reason)

    def abortConnection(self) -> None:
        """Reset the connection, and discard unsent output."""
        if self.connected and not self._aborting:
            self._aborting = True
            self._is_writable = False
            self.stopReading()
            self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connection_lost(self, error: Exception | None) -> None:
        """Handle a close by uvloop, which was requested or follows a failed system call."""
        if not self.disconnected:
            callWithLogger(self, self.connectionLost, _LOST)

    def connectionLost(self, reason: Failure) -> None:
        """Close the connection now and notify the protocol; do nothing the second time."""
        if self.disconnected:
            return
        self.connected = self.is_reading = self._is_writable = False
        self.disconnected = True
        self.reactor.connections.discard(self)
        self._stop_producer()
        self._aborting = reason.check(ConnectionAborted) is not None
        if self._stream is not None:
            self._close_stream()
        protocol = self.protocol
        del self.protocol
        if self._tls:
            self._forget_tls()
        protocol.connectionLost(reason)

    def _close_stream(self) -> None:
        if self._aborting:
            with suppress(OSError):
                self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET_ON_CLOSE)
        else:
            # Closing a socket with unread input resets the connection: end the output first.
            self._stream.write_eof()
        self._stream.abort()

    def _stop_producer(self) -> None:
        producer, self.producer = self.producer, None
        if producer is not None:
            callWithLogger(self, producer.stopProducing)

    def _protocol_failed(self) -> None:
        """Close the connection because the protocol or its producer has just raised."""
        failure = Failure()
        _log.failure("Unhandled error in {system}", failure, system=self.logstr)
        self.connectionLost(failure)

    # --- TLS ---

    _tlsClientDefault = False
    _tls = False

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """Start TLS: as a server, or if not ``normal`` as a client."""
        from twisted.internet._newtls import startTLS

        startTLS(self, contextFactory, normal, type(self))

    @property
    def TLS(self) -> bool:
        """True if TLS was started.  Twisted sets this when ``protocol`` is the TLS protocol."""
        return self._tls

    @TLS.setter
    def TLS(self, started: bool) -> None:
        self._tls = started
        for name in _THROUGH_TLS:
            self.__dict__[name] = getattr(self.protocol, name)

    def _forget_tls(self) -> None:
        for name in _THROUGH_TLS:
            del self.__dict__[name]


class UNIXTransport(TCPTransport):
    """Transport for a UNIX socket, which passes bytes but no file descriptors."""

    @property
    def hostname(self) -> Any:
        """The path of the peer's socket; empty for most clients."""
        return self.client

    def getPeer(self) -> UNIXAddress:
        """Return the peer's address; its name is ``None`` if the peer's socket has no path."""
        return UNIXAddress(self.client or None)

    def getHost(self) -> UNIXAddress:
        """Return the local address of the connection."""
        return UNIXAddress(self.socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        """Return ``False``; for protocols that expect TCP."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing; for protocols that expect TCP."""


class _Socket(sockets.socket):
    """Socket of a connection; ``stream`` serves it, and must close its descriptor."""

    stream: asyncio.Transport | None = None
    is_closed = False

    def close(self) -> None:
        """Close the connection through ``stream``."""
        super().close()  # while uvloop uses the socket, this only marks it
        self.is_closed = True
        if self.stream is not None:
            self.stream.abort()
