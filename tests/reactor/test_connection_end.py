"""The end of an HTTP connection, over real sockets: finished responses arrive, on both paths."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.reactor.connections import Peer
from tests.reactor.reactors import run, until
from x121 import config
from x121.core.clocks import wall_time
from x121.http.channel import Channel
from x121.http.fast import FastChannel
from x121.http.request import Request
from x121.runtime.site import make_site

# The client's kernel takes a part, and the server's the rest.
LARGE = b"x" * 4_000_000
HEAD = re.compile(
    rb"HTTP/1.1 200 OK\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n"
)


class Paths(Resource):
    """Answers ``/large`` with much, ``/later`` when the test says so, and the rest at once."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Request] = []
        self.over: list[tuple[bytes, bool]] = []
        """Each request that is over: its path, and whether it was answered."""

    def render(self, request: Any) -> Any:
        request.on_finish(lambda request: self.over.append((request.path, bool(request.finished))))
        if request.path == b"/later":
            request.running = Deferred().addErrback(lambda _: None)
            self.later.append(request)
            return NOT_DONE_YET
        return LARGE if request.path == b"/large" else b"ok"


class Server:
    """Serves :class:`Paths` on ``reactor``: over TCP, or a UNIX socket at ``path``."""

    def __init__(self, kind: str, reactor: Any, path: Path | None = None) -> None:
        self.reactor = reactor
        self.paths = Paths()
        self.site = make_site(
            self.paths,
            config.load({}, os.devnull).config,
            clock=reactor,
            now=wall_time,
            make_channel=FastChannel if kind == "uvloop" else Channel,
        )
        if path is None:
            port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
            self._address: Any = ("127.0.0.1", port.getHost().port)
            self._family = socket.AF_INET
        else:
            reactor.listenUNIX(str(path), self.site)
            self._address, self._family = str(path), socket.AF_UNIX

    async def connect(self) -> Peer:
        """Return a client whose connection is accepted."""
        before = self.site.connections
        peer = Peer(self._address, self._family)
        await until(self.reactor, lambda: self.site.connections > before)
        return peer

    async def answers(self, peer: Peer) -> list[bytes]:
        """Return the bodies of the responses that arrive until the connection ends."""
        await until(self.reactor, peer.take_all)
        bodies, rest = [], peer.received
        while rest:
            head = HEAD.match(rest)
            assert head is not None, rest[:200]
            size = int(head[1])
            bodies.append(rest[head.end() : head.end() + size])
            assert len(bodies[-1]) == size, f"a response was cut to {len(bodies[-1])} bytes"
            rest = rest[head.end() + size :]
        return bodies


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


def test_unread_input(kind: str) -> None:
    """A last response is whole, whatever its client has sent behind the request."""

    async def scenario(reactor: Any) -> list[bytes]:
        server = Server(kind, reactor)
        peer = await server.connect()
        peer.send(get("/large", "Connection: close") + b"x" * 150_000)
        await until(reactor, lambda: server.paths.over)
        for _ in range(20):
            await deferLater(reactor, 0)
        return await server.answers(peer)

    assert run(kind, scenario) == [LARGE]


def test_half_close_behind_pipelining(kind: str) -> None:
    """Responses that are finished arrive, when the client closes its side and one is missing."""

    async def scenario(reactor: Any) -> None:
        server = Server(kind, reactor)
        peer = await server.connect()
        peer.send(get("/now") * 9 + get("/later"))
        peer.shutdown()
        assert await server.answers(peer) == [b"ok"] * 9
        assert peer.end == "end"
        assert server.paths.over == [(b"/now", True)] * 9 + [(b"/later", False)]
        await until(reactor, lambda: not server.site.connections)

    run(kind, scenario)


@pytest.mark.parametrize("is_unix", [False, True], ids=["TCP", "UNIX"])
def test_half_close_behind_the_last_request(kind: str, tmp_path: Path, is_unix: bool) -> None:
    """A client that said that it sends no more is answered, and over a UNIX socket any other."""

    async def scenario(reactor: Any) -> None:
        server = Server(kind, reactor, tmp_path / "socket" if is_unix else None)
        peer = await server.connect()
        peer.send(get("/later") if is_unix else get("/later", "Connection: close"))
        await until(reactor, lambda: server.paths.later)
        peer.shutdown()
        for _ in range(10):
            await deferLater(reactor, 0)
        (request,) = server.paths.later
        request.respond(b"answer")
        assert await server.answers(peer) == [b"answer"]
        assert peer.end == "end"
        await until(reactor, lambda: not server.site.connections)

    run(kind, scenario)


@pytest.mark.parametrize("is_unix", [False, True], ids=["TCP", "UNIX"])
def test_client_that_leaves(kind: str, tmp_path: Path, is_unix: bool) -> None:
    """What a client waits for that closes its connection is cancelled."""

    async def scenario(reactor: Any) -> None:
        server = Server(kind, reactor, tmp_path / "socket" if is_unix else None)
        peer = await server.connect()
        peer.send(get("/later"))
        await until(reactor, lambda: server.paths.later)
        peer.socket.close()
        await until(reactor, lambda: server.paths.over)
        assert server.paths.over == [(b"/later", False)]
        await until(reactor, lambda: not server.site.connections)

    run(kind, scenario)


def test_client_that_leaves_behind_the_last_request(kind: str) -> None:
    """One that said that it sends no more is found to be gone when it is written to."""

    async def scenario(reactor: Any) -> None:
        server = Server(kind, reactor)
        peer = await server.connect()
        peer.send(get("/later", "Connection: close"))
        await until(reactor, lambda: server.paths.later)
        peer.socket.close()
        (request,) = server.paths.later
        for _ in range(10):
            await deferLater(reactor, 0)
        while not request.is_finished:
            request.write(b"x")
            await deferLater(reactor, 0)
        assert server.paths.over == [(b"/later", False)]
        await until(reactor, lambda: not server.site.connections)

    run(kind, scenario)


def test_drain(kind: str) -> None:
    """A request that has arrived when a drain begins is answered; idle clients see a clean end."""

    async def scenario(reactor: Any) -> None:
        server = Server(kind, reactor)
        peers = [await server.connect() for _ in range(4)]
        used, fresh, idle, _ = peers
        for peer in (used, idle):
            peer.send(get("/before"))
        await until(reactor, lambda: len(server.paths.over) == 2)
        used.send(get("/used"))
        fresh.send(get("/fresh"))
        drained = server.site.drain()
        bodies = [await server.answers(peer) for peer in peers]
        assert bodies == [[b"ok", b"ok"], [b"ok"], [b"ok"], []]
        assert [peer.end for peer in peers] == ["end"] * 4
        for peer in peers:
            peer.socket.close()
        await drained
        assert (server.site.drop(), server.site.requests_drained) == (0, 2)

    run(kind, scenario)
