"""Twisted's asyncio reactor over uvloop, with TCP and UNIX connections served by uvloop itself.

``twistd --reactor=x121`` installs it, or :func:`install` before anything imports
``twisted.internet.reactor``.  ``AsyncioSelectorReactor`` serves files, processes, UDP, outgoing
connections and all other readers and writers (psycopg2's sockets).  Ports, timers, calls from
threads and the end of child processes are implemented here.

As in any other reactor, a callback doesn't see the context variables that were set where it was
added.  asyncio alone would run a timer, or a socket's reader, in the context of the request that
was being handled at that time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from twisted.internet import process
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import DelayedCall
from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.main import CONNECTION_LOST, installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import callWithLogger

from x121.reactor.ports import TCPPort, UNIXPort
from x121.reactor.timers import DelayedCalls
from x121.reactor.transport import StaysPausedError, TCPTransport

__all__ = ["UvloopReactor", "install"]

_log = Logger(namespace="x121.reactor.reactor")

_Result = TypeVar("_Result")


class UvloopReactor(AsyncioSelectorReactor):
    """Reactor with its own uvloop event loop.

    Raises :class:`ImportError` if uvloop is not installed.
    """

    def __init__(self) -> None:
        loop = _new_loop()
        loop.set_exception_handler(_failed_in_loop)
        self.connections: set[TCPTransport] = set()
        self._sending: list[TCPTransport] = []
        self._thread_calls: deque[tuple[Callable[..., Any], Any, Any]] = deque()
        self._outside = copy_context()
        self._delayed = DelayedCalls(loop, lambda: self.seconds(), self.runUntilCurrent)
        super().__init__(loop)

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """Start; all callbacks see the values that context variables have now."""
        self._outside = copy_context()
        self._delayed.context = copy_context()
        super().startRunning(installSignalHandlers)

    # --- ports ---

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Return a listening TCP port; see ``IReactorTCP``."""
        return _listening(TCPPort(port, factory, backlog, interface, self))

    def listenUNIX(
        self,
        address: Any,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> Any:
        """Return a listening UNIX port; see ``IReactorUNIX``."""
        return _listening(UNIXPort(address, factory, backlog, mode, self, wantPID))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """Return a port on a socket that is already listening; see ``IReactorSocket``."""
        if addressFamily == socket.AF_UNIX:
            return _listening(UNIXPort._fromListeningDescriptor(self, fileDescriptor, factory))
        if addressFamily not in (socket.AF_INET, socket.AF_INET6):
            raise UnsupportedAddressFamily(addressFamily)
        return _listening(
            TCPPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        )

    # --- connections ---

    def open_stream(self, connection: TCPTransport) -> None:
        """Let uvloop serve the socket of ``connection``, which is its asyncio protocol.

        uvloop calls ``connection_made`` in the next turn.
        """
        loop: Any = self._asyncioEventloop
        opening = loop.connect_accepted_socket(lambda: connection, connection.socket)
        opened = self._run_outside(opening.send, None)
        opened.add_done_callback(partial(_resume, opening))

    def send_soon(self, connection: TCPTransport) -> None:
        """Call ``connection.send`` after all input of this turn is handled."""
        if not self._sending:
            self._asyncioEventloop.call_soon(self._send, context=self._delayed.context)
        self._sending.append(connection)

    def _send(self) -> None:
        sending, self._sending = self._sending, []
        for connection in sending:
            try:
                connection.send()
            except BaseException:
                _log.failure("Unhandled error while sending to {connection}", connection=connection)

    # --- readers and writers ---

    def addReader(self, reader: Any) -> None:
        """Call ``reader.doRead`` whenever there is input.

        A socket whose ``without_log_prefix`` is true is read without Twisted's log context, which
        takes longer than reading a short message.
        """
        self._run_outside(super().addReader, reader)
        if getattr(reader, "without_log_prefix", False):
            loop = self._asyncioEventloop
            self._run_outside(loop.add_reader, reader.fileno(), self._read, reader)

    def _read(self, reader: Any) -> None:
        try:
            reason = reader.doRead()
        except Exception as error:
            _log.failure("Unhandled error while reading from {reader}", reader=reader)
            reason = error
        if reason:
            self._disconnectSelectable(reader, reason, True)

    def addWriter(self, writer: Any) -> None:
        """Call ``writer.doWrite`` whenever output is possible."""
        self._run_outside(super().addWriter, writer)

    def getReaders(self) -> list[Any]:
        """Return all readers, including ports and connections."""
        reading = [connection for connection in self.connections if connection.is_reading]
        return [*super().getReaders(), *reading]

    def getWriters(self) -> list[Any]:
        """Return all writers, including connections with unsent output."""
        writing = [connection for connection in self.connections if connection.is_writing]
        return [*super().getWriters(), *writing]

    def removeAll(self) -> list[Any]:
        """Remove and return all readers and writers but the reactor's internal ones.

        uvloop still sends the remaining output of connections.
        """
        active = [
            connection
            for connection in self.connections
            if connection.is_reading or connection.is_writing
        ]
        for connection in active:
            connection.stopReading()
        return [*super().removeAll(), *active]

    def disconnectAll(self) -> None:
        """Disconnect everything, including connections that are neither read nor written."""
        super().disconnectAll()
        for connection in [*self.connections]:
            callWithLogger(connection, connection.connectionLost, Failure(CONNECTION_LOST))

    # --- time ---

    seconds = staticmethod(time.monotonic)

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002  # Twisted's name for it
        *args: object,
        **kw: object,
    ) -> DelayedCall:
        """Schedule a call of ``callable`` after ``delay`` seconds, and return it."""
        assert delay >= 0, f"{delay} is not greater than or equal to 0 seconds"
        return self._delayed.add(delay, callable, args, kw)

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Return the pending delayed calls."""
        return self._delayed.pending()

    def timeout(self) -> float | None:
        """Return the seconds until the next delayed call, or None if there is none."""
        return self._delayed.until_next()

    def runUntilCurrent(self) -> None:
        """Run one turn: make the calls that are due, and stop if requested."""
        for _ in range(len(self._thread_calls)):  # calls added meanwhile wait for the next turn
            _make(*self._thread_calls.popleft())
        self._delayed.run_due()
        if self._justStopped:
            super().runUntilCurrent()

    def iterate(self, delay: float = 0) -> None:
        """Run the loop for ``delay`` seconds, or for one turn."""
        self._asyncioEventloop.call_later(delay, self._asyncioEventloop.stop)
        self._asyncioEventloop.run_forever()

    def callFromThread(  # type: ignore[override]  # Twisted's two signatures differ
        self, f: Callable[..., Any], *args: object, **kwargs: object
    ) -> None:
        """Call ``f`` in the reactor's thread, soon; may be called in any thread."""
        self._thread_calls.append((f, args, kwargs))
        self._asyncioEventloop.call_soon_threadsafe(
            self.runUntilCurrent, context=self._delayed.context
        )

    # --- child processes ---

    def _reallyStartRunning(self) -> None:
        super()._reallyStartRunning()
        if self._installSignalHandlers:
            # Twisted's handler relies on the descriptor that Python writes to on signals, which
            # uvloop has replaced with its own.
            signal.signal(signal.SIGCHLD, self._child_ended)
            signal.siginterrupt(signal.SIGCHLD, False)

    def _child_ended(self, number: int, frame: FrameType | None) -> None:
        self.callFromThread(process.reapAllProcesses)

    def _run_outside(self, function: Callable[..., _Result], *args: Any) -> _Result:
        """Call ``function`` in the reactor's context, not in that of the current request."""
        return self._outside.run(function, *args)


def install() -> None:
    """Install a :class:`UvloopReactor` in this process, and its loop as asyncio's.

    Raises :class:`ImportError` if uvloop is not installed, and
    :class:`~twisted.internet.error.ReactorAlreadyInstalledError` if a reactor is.
    """
    reactor = UvloopReactor()
    installReactor(reactor)
    asyncio.set_event_loop(reactor._asyncioEventloop)


def _new_loop() -> Any:
    try:
        import uvloop
    except ImportError as error:
        raise ImportError(
            "the reactor of x121 needs uvloop, which is not installed: pip install 'x121[fast]'"
        ) from error
    return uvloop.new_event_loop()


def _listening(port: Any) -> Any:
    port.startListening()
    return port


def _resume(coroutine: Coroutine[Any, Any, object], awaited: object) -> None:
    """Run ``coroutine`` to its end, after the future that it ``awaited``."""
    with suppress(StopIteration):
        coroutine.send(None)


def _make(function: Callable[..., object], args: Any, kwargs: Any) -> None:
    try:
        function(*args, **kwargs)
    except BaseException:
        _log.failure("Unhandled error in a call from a thread")


def _failed_in_loop(loop: Any, context: dict[str, Any]) -> None:
    """Log an error that uvloop can't raise; see asyncio's ``call_exception_handler``."""
    error = context.get("exception")
    if isinstance(error, StaysPausedError):
        return
    message = context.get("message", "Unhandled error in the event loop")
    if error is None:
        _log.error("{message}", message=message)
    else:
        failure = Failure(error, type(error), error.__traceback__)
        _log.failure("{message}", failure, message=message)
