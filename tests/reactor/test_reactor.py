"""The reactor as a whole: contexts, threads, readers, its end, and its installation."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorProcess,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.reactor.connections import Listener, Recorder
from tests.reactor.reactors import logged, run, until
from x121.reactor.reactor import UvloopReactor

ROOT = Path(__file__).parents[2]

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


class Reader:
    """Reads a socket as psycopg2's connections are: added and removed around each answer."""

    def __init__(self, one: socket.socket) -> None:
        one.setblocking(False)
        self.socket = one
        self.received = b""
        self.contexts: list[str | None] = []
        self.lost: list[str] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "reader"

    def doRead(self) -> None:
        self.contexts.append(REQUEST.get())
        self.received += self.socket.recv(100)

    def connectionLost(self, reason: Any) -> None:
        self.lost.append(reason.type.__name__)


class DirectReader(Reader):
    """Is read without a log prefix, as a connection to PostgreSQL is; "!" is an error."""

    without_log_prefix = True
    prefixes = 0

    def logPrefix(self) -> str:
        self.prefixes += 1
        return super().logPrefix()

    def doRead(self) -> None:
        super().doRead()
        if b"!" in self.received:
            raise ValueError("!")


# --- contexts ---


def test_contexts(kind: str) -> None:
    """Nothing runs in the context of the request that was handled when it was asked for."""
    seen: dict[str, Any] = {}

    def note(what: str) -> None:
        seen[what] = REQUEST.get()

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        protocol, peer = await listener.connect()
        reader, other = map(Reader, socket.socketpair())

        def handle_request() -> None:
            REQUEST.set("one")
            reactor.callLater(0, note, "a call")
            reactor.callLater(0.001, note, "a later call")
            reactor.callFromThread(note, "a call from a thread")
            reactor.addReader(reader)
            seen["port"] = Listener(reactor)
            protocol.transport.registerProducer(_Noting(note), False)
            protocol.transport.write(b"x")

        copy_context().run(handle_request)
        other.socket.send(b"x")
        await until(reactor, lambda: len(seen) == 5 and reader.received)
        seen["a reader"] = reader.contexts[0]
        late, peer = await seen.pop("port").connect()
        late.dataReceived = lambda data: note("a connection of a port")
        peer.send(b"x")
        await until(reactor, lambda: "a connection of a port" in seen)
        reactor.removeReader(reader)
        reader.socket.close()
        other.socket.close()

    run(kind, scenario)
    assert {what for what, request in seen.items() if request is not None} == set()
    assert len(seen) == 6


class _Noting:
    """A producer that notes in which context it is asked to produce, but for the first time."""

    def __init__(self, note: Any) -> None:
        self._note = note
        self._is_first = True

    def resumeProducing(self) -> None:
        if not self._is_first:
            self._note("a producer")
        self._is_first = False

    def stopProducing(self) -> None:
        """Nothing is to be stopped."""


def test_what_is_set_before_the_start() -> None:
    """What the program sets before it runs the reactor, everything sees."""
    token = REQUEST.set("program")
    try:

        async def scenario(reactor: Any) -> list[str | None]:
            seen: list[str | None] = []
            reactor.callLater(0, lambda: seen.append(REQUEST.get()))
            reactor.callFromThread(lambda: seen.append(REQUEST.get()))
            await until(reactor, lambda: len(seen) == 2)
            return seen

        assert run("uvloop", scenario) == ["program", "program"]
    finally:
        REQUEST.reset(token)


# --- threads ---


def test_calls_from_threads(kind: str) -> None:
    """Calls from a thread are made in the reactor's, in order, also while nothing else happens."""

    async def scenario(reactor: Any) -> tuple[list[int], set[int]]:
        made: list[int] = []
        where: set[int] = set()
        done: Deferred[None] = Deferred()

        def called(number: int, *, last: bool) -> None:
            made.append(number)
            where.add(threading.get_ident())
            if last:
                done.callback(None)

        def work() -> None:
            for number in range(1000):
                reactor.callFromThread(called, number, last=number == 999)

        thread = threading.Thread(target=work)
        thread.start()
        await done
        thread.join()
        return made, where

    made, where = run(kind, scenario)
    assert made == list(range(1000))
    assert where == {threading.get_ident()}


def test_failing_call_from_a_thread(kind: str) -> None:
    """A call from a thread that raises is logged, and the next one made."""

    async def scenario(reactor: Any) -> None:
        done: Deferred[None] = Deferred()
        reactor.callFromThread(lambda: 1 // 0)
        reactor.callFromThread(done.callback, None)
        await done

    with logged() as failures:
        run(kind, scenario)
    assert failures == [ZeroDivisionError]


def test_thread_pool(kind: str) -> None:
    """What a thread of the pool returns comes back."""

    async def scenario(reactor: Any) -> list[int]:
        pool = reactor.getThreadPool()
        return [await deferToThreadPool(reactor, pool, pow, 2, n) for n in range(5)]

    assert run(kind, scenario) == [1, 2, 4, 8, 16]


# --- readers and writers ---


def test_reader_that_comes_and_goes(kind: str) -> None:
    """A reader may be removed and added again at any time, as a database connection is."""

    async def scenario(reactor: Any) -> bytes:
        reader, other = map(Reader, socket.socketpair())
        for number in range(20):
            reactor.addReader(reader)
            reactor.addReader(reader)
            other.socket.send(b"%d" % (number % 10))
            await until(reactor, lambda: len(reader.received) > number)  # noqa: B023
            reactor.removeReader(reader)
            reactor.removeReader(reader)
            assert reader not in reactor.getReaders()
        other.socket.send(b"unread")
        for _ in range(5):
            await deferLater(reactor, 0)
        reader.socket.close()
        other.socket.close()
        return reader.received

    assert run(kind, scenario) == b"01234567890123456789"


def test_reader_without_log_prefix(kind: str) -> None:
    """It is read in the reactor's context; after an error, which is logged, it is disconnected."""

    async def scenario(reactor: Any) -> DirectReader:
        reader, other = map(DirectReader, socket.socketpair())
        token = REQUEST.set("a request")
        reactor.addReader(reader)
        reactor.addReader(reader)
        REQUEST.reset(token)
        other.socket.send(b"hello")
        await until(reactor, lambda: reader.received == b"hello")
        assert reader in reactor.getReaders()
        other.socket.send(b"!")
        await until(reactor, lambda: reader.lost)
        assert reader not in reactor.getReaders()
        reader.socket.close()
        other.socket.close()
        return reader

    with logged() as errors:
        reader = run(kind, scenario)
    assert reader.contexts == [None, None]
    assert (errors, reader.lost) == ([ValueError], ["ValueError"])
    if kind == "uvloop":
        assert reader.prefixes == 0


@pytest.mark.parametrize(
    ("kind", "removed_first"),
    [("stock", True), ("uvloop", True), ("uvloop", False)],  # epoll's fails if it is not
)
def test_descriptor_that_is_used_again(kind: str, removed_first: bool) -> None:
    """A new socket with the number of one that was closed is read, and only that."""

    async def scenario(reactor: Any) -> tuple[bytes, bytes]:
        old, other = map(Reader, socket.socketpair())
        number = old.fileno()
        reactor.addReader(old)
        other.socket.send(b"old")
        await until(reactor, lambda: old.received)
        if removed_first:
            reactor.removeReader(old)
            old.socket.close()
        else:
            old.socket.close()
            reactor.removeReader(old)
        new, another = map(Reader, socket.socketpair())
        assert number in (new.fileno(), another.fileno())
        reader, writer = (new, another) if new.fileno() == number else (another, new)
        reactor.addReader(reader)
        writer.socket.send(b"new")
        await until(reactor, lambda: reader.received)
        reactor.removeReader(reader)
        for one in (new, another, other):
            one.socket.close()
        return old.received, reader.received

    assert run(kind, scenario) == (b"old", b"new")


def test_descriptor_of_a_connection_that_is_used_again() -> None:
    """uvloop lets go of a connection's descriptor when it closes it: a reader may have it next."""

    async def scenario(reactor: Any) -> bytes:
        protocol, peer = await Listener(reactor).connect()
        number = protocol.transport.fileno()
        protocol.transport.loseConnection()
        await until(reactor, lambda: peer.take_all())
        peer.socket.close()
        pairs = [socket.socketpair() for _ in range(3)]
        (mine,) = [one for pair in pairs for one in pair if one.fileno() == number]
        (other,) = [one for pair in pairs for one in pair if mine in pair and one is not mine]
        reader = Reader(mine)
        reactor.addReader(reader)
        other.send(b"x")
        await until(reactor, lambda: reader.received)
        reactor.removeReader(reader)
        for pair in pairs:
            for one in pair:
                one.close()
        return reader.received

    assert run("uvloop", scenario) == b"x"


def test_what_is_read_and_written(kind: str) -> None:
    """Ports and connections are readers while they read, and writers while they write."""

    async def scenario(reactor: Any) -> None:
        listener = Listener(reactor)
        protocol, peer = await listener.connect()
        assert {listener.port, protocol.transport} <= {*reactor.getReaders()}
        assert protocol.transport not in reactor.getWriters()
        protocol.transport.pauseProducing()
        listener.port.pauseProducing()
        assert not {listener.port, protocol.transport} & {*reactor.getReaders()}
        protocol.transport.write(b"x" * (1 << 24))
        await deferLater(reactor, 0)
        assert protocol.transport in reactor.getWriters()
        await until(reactor, lambda: not peer.take() and len(peer.received) == 1 << 24)
        for _ in range(3):
            await deferLater(reactor, 0)
        assert protocol.transport not in reactor.getWriters()
        protocol.transport.resumeProducing()
        listener.port.resumeProducing()
        removed = reactor.removeAll()
        assert {listener.port, protocol.transport} <= {*removed}
        assert not {listener.port, protocol.transport} & {*reactor.getReaders()}
        for one in removed:
            one.connectionLost(Failure(ConnectionDone()))

    run(kind, scenario)


# --- the end ---


def test_end() -> None:
    """When the reactor stops, whatever is still there is told, and nothing is left."""

    async def scenario(reactor: Any) -> list[Recorder]:
        listener = Listener(reactor)
        for _ in range(3):
            await listener.connect()
        _idle, writing, paused = listener.protocols
        writing.transport.write(b"x" * (1 << 24))
        paused.transport.pauseProducing()
        paused.transport.loseWriteConnection()
        for _ in range(5):
            await deferLater(reactor, 0)
        assert paused.transport not in [*reactor.getReaders(), *reactor.getWriters()]
        remember.append(reactor)
        return listener.protocols

    remember: list[UvloopReactor] = []
    protocols = run("uvloop", scenario)
    assert [one.events for one in protocols] == [["made", "lost: ConnectionLost"]] * 3
    (reactor,) = remember
    assert (reactor.connections, reactor.getDelayedCalls()) == (set(), [])
    assert [*reactor.getReaders(), *reactor.getWriters()] == []


def test_iterate() -> None:
    """A reactor that doesn't run may be turned by hand."""
    reactor = UvloopReactor()
    made: list[int] = []
    reactor.callLater(0, made.append, 1)
    reactor.iterate()
    reactor.callLater(0.01, made.append, 2)
    reactor.iterate(0.02)
    assert made == [1, 2]
    for reader in [*reactor._internalReaders]:
        reactor._removeInternalReader(reader)
        reader.connectionLost(None)
    reactor._asyncioEventloop.close()


def test_interfaces() -> None:
    """The reactor has all methods of the interfaces that it provides."""

    async def scenario(reactor: Any) -> None:
        for interface in (
            IReactorCore,
            IReactorFDSet,
            IReactorFromThreads,
            IReactorProcess,
            IReactorSocket,
            IReactorTCP,
            IReactorTime,
            IReactorUNIX,
        ):
            assert verifyObject(interface, reactor)

    run("uvloop", scenario)


def test_asyncio() -> None:
    """Coroutines of asyncio run in the same loop, and their errors are in the log."""

    async def scenario(reactor: Any) -> str:
        async def native() -> str:
            await asyncio.sleep(0.001)
            return "slept"

        def fail() -> None:
            raise ZeroDivisionError

        await deferLater(reactor, 0)  # the loop runs when everything has started
        asyncio.get_running_loop().call_soon(fail)
        return await Deferred.fromFuture(asyncio.ensure_future(native()))

    with logged() as failures:
        assert run("uvloop", scenario) == "slept"
    assert failures == [ZeroDivisionError]


# --- a process of its own ---


def python(code: str, *, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=timeout,
    )


def test_install() -> None:
    """It becomes the reactor of the process, and its loop asyncio's."""
    done = python(
        "from x121.reactor.reactor import install\n"
        "install()\n"
        "import asyncio\n"
        "from twisted.internet import reactor\n"
        "print(type(reactor).__name__, asyncio.get_event_loop() is reactor._asyncioEventloop)\n"
        "install()\n"
    )
    assert done.stdout.split() == ["UvloopReactor", "True"]
    assert "ReactorAlreadyInstalledError" in done.stderr


def test_without_uvloop() -> None:
    """Where uvloop is not installed, the error says what to install, and nothing is changed."""
    done = python(
        "import sys\n"
        "sys.modules['uvloop'] = None\n"
        "from x121.reactor.reactor import install\n"
        "try:\n"
        "    install()\n"
        "except ImportError as error:\n"
        "    print(error, 'twisted.internet.reactor' in sys.modules)\n"
    )
    assert done.stdout.strip().endswith("pip install 'x121[fast]' False"), done.stderr


def test_plugin() -> None:
    """twistd knows the reactor by its name, and loads uvloop only for who asks for it."""
    done = python(
        "import sys\n"
        "from twisted.application.reactors import getReactorTypes, installReactor\n"
        "names = [one.shortName for one in getReactorTypes()]\n"
        "print('x121' in names, 'uvloop' in sys.modules, 'x121.reactor.reactor' in sys.modules)\n"
        "print(type(installReactor('x121')).__name__)\n"
    )
    assert done.stdout.split() == ["True", "False", "False", "UvloopReactor"], done.stderr


# What a program is told by the system, with x121's own signal handlers.
SIGNALLED = """
import os, signal, sys, threading
signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # tests may run in the background
from x121.reactor.reactor import install
install()
from twisted.internet import reactor
from x121.runtime.signals import Exit, Signals

signals = Signals(reactor, Exit(before_exit=lambda: None), reopen_log=print)
reactor.callWhenRunning(signals.install)
# The loop sleeps: nothing else would wake it for minutes.
reactor.callLater(300, print, "too late")
reactor.callWhenRunning(
    lambda: threading.Timer(0.2, os.kill, (os.getpid(), signal.{name})).start()
)
reactor.addSystemEventTrigger("during", "shutdown", print, "stopped")
reactor.run()
print("ended")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_signals(name: str) -> None:
    """A signal wakes the reactor at once, also from its longest sleep."""
    done = python(SIGNALLED.format(name=name))
    assert (done.returncode, done.stdout.split()) == (0, ["stopped", "ended"]), done.stderr


CHILDREN = """
import os, signal, sys
from x121.reactor.reactor import install
install()
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.utils import getProcessOutput, getProcessValue

def later():
    # Children that end together, of which one signal tells.
    waiting = gatherResults([
        *(getProcessValue(sys.executable, ["-c", f"raise SystemExit({n})"]) for n in range(5)),
        getProcessOutput("/bin/sh", ["-c", "echo output"]),
    ])
    waiting.addCallback(print)
    waiting.addErrback(lambda failure: failure.printTraceback())
    waiting.addBoth(lambda _: reactor.stop())

reactor.callLater(0.1, later)
reactor.run()
"""


def test_child_processes() -> None:
    """The end of child processes is noticed, with their exit codes and all of their output."""
    done = python(CHILDREN)
    assert done.stdout.strip() == "[0, 1, 2, 3, 4, b'output\\n']", done.stderr


APPLICATION = """
from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.protocol import Protocol, ServerFactory

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data + type(reactor).__name__.encode())

application = Application("echo")
server = TCPServer(0, ServerFactory.forProtocol(Echo), interface="127.0.0.1")
server.setServiceParent(application)

def tell():
    with open("port", "w") as file:
        file.write(str(server._port.getHost().port))

reactor.callLater(0, tell)
"""


def test_in_the_background(tmp_path: Path) -> None:
    """twistd's process in the background serves, though the loop was made before its fork."""
    (tmp_path / "app.tac").write_text(APPLICATION)
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    options = ["--reactor=x121", "--pidfile=pid", "--logfile=log", "-y", "app.tac"]
    subprocess.run(
        [*command, *options],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=30,
    )
    port = wait_for(tmp_path / "port")
    process = int(wait_for(tmp_path / "pid"))
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as peer:
            peer.sendall(b"hello ")
            assert peer.recv(100) == b"hello UvloopReactor"
        os.kill(process, signal.SIGTERM)
        assert poll(lambda: not (tmp_path / "pid").exists()), "twistd removes it at its end"
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    log = (tmp_path / "log").read_text()
    assert log.splitlines()[-1].endswith("Server Shut Down.")
    assert "Traceback" not in log


def wait_for(path: Path) -> str:
    """Return what is in a file, once there is something."""
    assert poll(lambda: path.exists() and path.read_text()), path
    return path.read_text()


def poll(true: Callable[[], object]) -> bool:
    """Wait until something is ``true``, but not for ever; return whether it is."""
    for _ in range(1000):
        if true():
            return True
        time.sleep(0.01)
    return False
