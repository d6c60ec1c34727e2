"""A connection that uvloop serves, as Twisted's protocols know connections.

:class:`TCPTransport` stands between a Twisted protocol, which knows it as its transport, and one of
uvloop's transports, which knows it as an asyncio protocol.  What a protocol sees is what
``twisted.internet.tcp.Server`` would show it; what happens in between is uvloop's.

- What is read goes from uvloop to ``dataReceived`` through one method, :meth:`data_received`.
- What is written in one turn of the reactor leaves in one piece at its end, as in Twisted.  uvloop
  (from 0.23 on) makes a system call, and mostly a segment, of every write; and a peer that is woken
  by an answer while others are still being made takes a fifth of the server's time for its own.
- uvloop tells when it could not send all, and when it has: its upper mark is 0 bytes.  Closing,
  half-closing and producers wait for that.

uvloop turns Nagle's algorithm off, and it stays off, other than in Twisted: what belongs together
is put together here already, and the last part of a long answer would wait for the peer's delayed
acknowledgement.
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

# As in Twisted, one failure for all: they say nothing that differs.
_DONE = Failure(ConnectionDone())
_LOST = Failure(ConnectionLost())

# uvloop goes on reading from one connection, up to 32 times, while its buffer of 250 KiB comes back
# full.  After as much as that, the others have their turn.
_LARGE_READ = 131_072

# To copy small pieces together costs less than to hand them to the kernel one by one.
_MAX_JOINED_BYTES = 16_384

# To close a socket that lingers for no time resets its connection (socket(7)).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# What a protocol reaches through TLS once that is started.
_THROUGH_TLS = (
    "write",
    "writeSequence",
    "loseConnection",
    "registerProducer",
    "unregisterProducer",
)


class StaysPausedError(Exception):
    """Keeps uvloop from reading: it begins when ``connection_made`` returns, paused or not."""


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

    ``client`` is the peer's address as the socket module has it, ``server`` the port that accepted
    the connection, as its ``sessionno``-th.  ``reactor`` keeps the transport until it is lost.

    ``socket`` is there for its options: uvloop reads, writes and closes it, from the reactor's next
    turn on.  Until then what is written waits, and so does the end.
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
        """Go on with what was wanted before uvloop had its transport."""
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
        known = ILoggingContext.providedBy(protocol)
        prefix = protocol.logPrefix() if known else self._protocol_name
        self.logstr = f"{prefix},{self.sessionno},{self.hostname}"
        tracker = context.theContextTracker.currentContext()
        self._log_contexts = tracker.contexts
        self._log_context = {
            ILogContext: {**tracker.getContext(ILogContext), "system": self.logstr}
        }

    def logPrefix(self) -> str:
        """Return what the log lines of this connection begin with."""
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
        """Return the address that the peer has connected to."""
        return tcp_address(self.socket.getsockname())

    def getHandle(self) -> sockets.socket:
        """Return the same; after ``startTLS()`` it is the TLS connection."""
        return self.socket

    def fileno(self) -> int:
        """Return the socket's file descriptor, or -1 when it is closed."""
        return -1 if self.disconnected else self.socket.fileno()

    def getTcpNoDelay(self) -> bool:
        """Return whether small writes are sent at once, as they are from the beginning."""
        return bool(self.socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once, or have the kernel gather them (RFC 896)."""
        self.socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Return whether the kernel asks a silent peer whether it is still there."""
        return bool(self.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the kernel ask a silent peer whether it is still there, or not."""
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, enabled)

    # --- input ---

    def data_received(self, data: bytes) -> None:
        """Hand on what uvloop has read."""
        self._log_contexts.append(self._log_context)  # what callWithLogger does, without its cost
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
        """Tell that the peer sends no more, and uvloop that it need not close anything."""
        callWithLogger(self, self.readConnectionLost, _DONE)
        return True

    def readConnectionLost(self, reason: Failure) -> None:
        """Tell a protocol that can be half-closed; any other one loses the connection."""
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
        """Hand on what arrives, unless nothing will."""
        if self.connected and not self._input_ended and not self._aborting:
            self.is_reading = True
            if self._stream is not None:
                self._stream.resume_reading()

    def stopReading(self) -> None:
        """Leave what arrives to the kernel, which lets its sender wait."""
        self.is_reading = False
        if self.connected and self._stream is not None:
            self._stream.pause_reading()

    def resumeProducing(self) -> None:
        """Go on reading, unless the connection is being closed."""
        if not self.disconnecting:
            self.startReading()

    def pauseProducing(self) -> None:
        """Read nothing for a while."""
        self.stopReading()

    def stopProducing(self) -> None:
        """Close the connection."""
        self.loseConnection()

    # --- output ---

    @property
    def is_writing(self) -> bool:
        """Whether there is something left to send, or to do when all is sent."""
        return self.connected and (self._will_send or self._is_blocked)

    def write(self, data: bytes) -> None:
        """Send ``data``; nothing happens if nothing can be sent any more.

        Raises :class:`TypeError` for what is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if data and self._is_writable:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
            if not self._will_send:
                self._send_soon()
            if self.producer is not None:
                self._pause_if_full()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of ``iovec``, as :meth:`write` does."""
        pieces = list(iovec)
        if not all(isinstance(piece, bytes) for piece in pieces):
            raise TypeError("Data must be bytes")
        self.write(b"".join(pieces))

    def _send_soon(self) -> None:
        if not self._will_send:
            self._will_send = True
            self.reactor.send_soon(self)

    def send(self) -> None:
        """Send what was written in this turn; the reactor calls this at its end."""
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
        if not self._is_blocked:
            self._all_sent()

    def pause_writing(self) -> None:
        """Remember that uvloop could not send all."""
        self._is_blocked = True

    def resume_writing(self) -> None:
        """Go on with what waited for uvloop to have sent all."""
        self._is_blocked = False
        if self.connected and not self._aborting and not self._will_send:
            self._all_sent()

    # --- what waits until all is sent: producers, and the end ---

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let ``producer`` write as fast as the peer takes it.

        A streaming one is paused when more than ``bufferSize`` bytes wait, and resumed when none
        do.  Any other one is resumed, now and whenever all that it wrote is sent.  It is stopped
        when the connection is lost.  Raises :class:`RuntimeError` if there is a producer already.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"{producer} can't be the producer: {self.producer} was never unregistered"
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
        """Forget the producer, and close the connection if that was waiting for it."""
        self.producer = None
        if self.connected and self.disconnecting:
            self._send_soon()

    def _pause_if_full(self) -> None:
        """Pause a streaming producer that is faster than the peer.

        Each write does that, as in Twisted: an HTTP channel may have another producer by now.
        """
        if self.streamingProducer:
            waiting = self._unsent_bytes
            if self._is_blocked:
                waiting += self._stream.get_write_buffer_size()
            if waiting > self.bufferSize:
                self.producerPaused = True
                self.producer.pauseProducing()

    def _all_sent(self) -> None:
        """Do what comes next, in the order of Twisted's ``FileDescriptor.doWrite``."""
        if self._stream.is_closing():
            return  # it was not sent: the peer is gone, and uvloop says so next
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
        """Close the connection when all is sent and no producer waits to write more.

        As in Twisted, that is at once if the output has been ended before.
        """
        if self.connected and not self.disconnecting:
            self.stopReading()
            if self._writeDisconnected:
                self.connectionLost(_DONE)
            else:
                self.disconnecting = True
                self._send_soon()

    def loseWriteConnection(self) -> None:
        """Tell the peer when all is sent that it is all; go on reading."""
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
        """Lose the connection: what ends the output alone is ``loseWriteConnection``."""
        self.connectionLost(reason)

    def abortConnection(self) -> None:
        """Reset the connection, whatever is not sent yet."""
        if self.connected and not self._aborting:
            self._aborting = True
            self._is_writable = False
            self.stopReading()
            self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connection_lost(self, error: Exception | None) -> None:
        """Learn that uvloop closes the connection: it was told to, or a system call has failed."""
        if not self.disconnected:
            callWithLogger(self, self.connectionLost, _LOST)

    def connectionLost(self, reason: Failure) -> None:
        """Close the connection now and tell the protocol why; only the first time counts."""
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
            # To close a socket with something to read resets the connection: first the end.
            self._stream.write_eof()
        self._stream.abort()

    def _stop_producer(self) -> None:
        producer, self.producer = self.producer, None
        if producer is not None:
            callWithLogger(self, producer.stopProducing)

    def _protocol_failed(self) -> None:
        """Close the connection of a protocol, or of its producer, that has just raised."""
        failure = Failure()
        _log.failure("Unhandled error in {system}", failure, system=self.logstr)
        self.connectionLost(failure)

    # --- TLS ---

    _tlsClientDefault = False
    _tls = False

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """Speak TLS from now on: as a server, or if not ``normal`` as a client."""
        from twisted.internet._newtls import startTLS

        startTLS(self, contextFactory, normal, type(self))

    @property
    def TLS(self) -> bool:
        """Whether TLS was started.  Twisted sets this when ``protocol`` has become that of TLS."""
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
    """A connection over a UNIX socket, which passes bytes and no file descriptors."""

    @property
    def hostname(self) -> Any:
        """The path of the peer's socket; most have none."""
        return self.client

    def getPeer(self) -> UNIXAddress:
        """Return the peer's address, whose name is ``None`` if it has none."""
        return UNIXAddress(self.client or None)

    def getHost(self) -> UNIXAddress:
        """Return the address that the peer has connected to."""
        return UNIXAddress(self.socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        """Return ``False``: what is made for TCP may ask."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: what is made for TCP may ask for it."""


class _Socket(sockets.socket):
    """The socket of a connection that ``stream`` serves, and whose descriptor it is to close."""

    stream: asyncio.Transport | None = None
    is_closed = False

    def close(self) -> None:
        """Have the connection closed."""
        super().close()  # as long as uvloop holds the socket, that only notes it
        self.is_closed = True
        if self.stream is not None:
            self.stream.abort()
