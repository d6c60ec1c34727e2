"""How the server has to prove itself, and to whom the password is never sent."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from tests.certificates import Authority
from tests.postgres import PausablePostgres
from x121.config import DbConfig, load
from x121.db.connection import Connection, connect
from x121.testing.waiting import global_reactor

SSL_REQUEST = struct.pack("!II", 8, 80877103)
CLEARTEXT = b"R" + struct.pack("!II", 8, 3)
MD5 = b"R" + struct.pack("!II4s", 12, 5, b"salt")


@asynccontextmanager
async def connected(config: DbConfig) -> AsyncIterator[Connection]:
    connection = await connect(
        config, reactor=global_reactor(), statement_timeout_secs=5, timeout_secs=5
    )
    try:
        yield connection
    finally:
        connection.close()


async def refusal(config: DbConfig) -> str:
    """Return the error of a connection that must fail."""
    with pytest.raises(psycopg2.OperationalError) as caught:
        async with connected(config):
            pass
    return str(caught.value)


async def is_encrypted(config: DbConfig) -> bool:
    """Return whether a connection that works is encrypted."""
    async with connected(config) as connection:
        assert (await connection.execute("SELECT 1")).rows == [(1,)]
        return bool(connection.info.ssl_in_use)


# --- a real server, behind TLS --------------------------------------------------------------


class Relay(Protocol):
    """Passes on what comes to its ``peer``."""

    peer: Protocol | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.loseConnection()


class Front(Relay):
    """A connection that may ask for TLS, in front of a PostgreSQL that has none."""

    transport: Any

    def __init__(self, tls: Any, port: int) -> None:
        self.tls = tls
        self.port = port
        self.early = b""

    def connectionMade(self) -> None:
        reactor = global_reactor()
        point = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        connectProtocol(point, Relay()).addCallback(self.joined)

    def joined(self, peer: Relay) -> None:
        self.peer, peer.peer = peer, self
        early, self.early = self.early, b""
        if early:
            super().dataReceived(early)

    def dataReceived(self, data: bytes) -> None:
        if data == SSL_REQUEST:
            self.transport.write(b"S")
            self.transport.startTLS(self.tls)
        elif self.peer is None:
            self.early += data
        else:
            super().dataReceived(data)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return the authority that has signed the server's certificate."""
    return Authority(tmp_path)


@pytest_twisted.async_yield_fixture
async def config(authority: Authority, empty_database: DbConfig) -> AsyncIterator[DbConfig]:
    """Return what connects to a new database over TLS, by the name ``localhost``."""
    tls = context(authority)
    factory = Factory.forProtocol(partial(Front, tls, empty_database.port))
    factory.noisy = False
    port = global_reactor().listenTCP(0, factory, interface="127.0.0.1")
    yield replace(empty_database, host="localhost", port=port.getHost().port)
    await port.stopListening()


def context(authority: Authority) -> DefaultOpenSSLContextFactory:
    """Return what makes a server that is named ``localhost``."""
    certificate, key = authority.issue("localhost")
    return DefaultOpenSSLContextFactory(str(key), str(certificate))


@pytest_twisted.ensureDeferred
async def test_modes(config: DbConfig) -> None:
    """TLS is used where the server has it, unless it is disabled."""
    for mode, encrypted in (("disable", False), ("prefer", True), ("require", True)):
        assert await is_encrypted(replace(config, ssl_mode=mode)) is encrypted
    assert await is_encrypted(replace(config, ssl=True))


@pytest_twisted.ensureDeferred
async def test_no_tls(empty_database: DbConfig) -> None:
    """A server without TLS is used if that is only preferred."""
    assert not await is_encrypted(empty_database)
    for required in ({"ssl": True}, {"ssl_mode": "require"}):
        assert "does not support SSL" in await refusal(replace(empty_database, **required))


@pytest_twisted.ensureDeferred
async def test_verify_full(config: DbConfig, authority: Authority) -> None:
    """verify-full wants the authority's signature and the server's name."""
    verified = replace(config, ssl_mode="verify-full", ssl_root_cert=str(authority.path))
    assert await is_encrypted(verified)
    other_name = await refusal(replace(verified, host="127.0.0.1"))
    assert 'server certificate for "localhost"' in other_name
    assert 'does not match host name "127.0.0.1"' in other_name


@pytest_twisted.ensureDeferred
async def test_verify_ca(config: DbConfig, authority: Authority, tmp_path: Path) -> None:
    """verify-ca wants the authority's signature, whatever the name."""
    named = replace(config, host="127.0.0.1", ssl_mode="verify-ca")
    assert await is_encrypted(replace(named, ssl_root_cert=str(authority.path)))
    other = str(Authority(tmp_path, "other").path)
    assert "certificate verify failed" in await refusal(replace(named, ssl_root_cert=other))


# --- ways of authentication -----------------------------------------------------------------


@pytest.fixture(params=["md5", "password", "trust"])
def method(request: pytest.FixtureRequest, private_postgres: PausablePostgres) -> str:
    """Have a server authenticate in another way."""
    path = Path(private_postgres.query("SHOW hba_file")[0][0])
    path.write_text(f"host all x121 127.0.0.1/32 {request.param}\n{path.read_text()}")
    private_postgres.query("SELECT pg_reload_conf()")
    return str(request.param)


@pytest_twisted.ensureDeferred
async def test_ways_of_authentication(private_postgres: PausablePostgres, method: str) -> None:
    """A server asks for the password in a way that is allowed; one that is_trusted doesn't ask."""
    config = private_postgres.config(private_postgres.create_database())
    if method == "trust":
        async with connected(config):
            return
    private_postgres.query("SET password_encryption = md5")
    private_postgres.query(f"ALTER ROLE x121 PASSWORD '{config.password}'")
    assert "(see DB_REQUIRE_AUTH)" in await refusal(config)
    async with connected(replace(config, require_auth=method)):
        pass


# --- a server that isn't ours ---------------------------------------------------------------


class Impostor(Protocol):
    """Asks for the password as soon as it can, and keeps all that it gets."""

    factory: ImpostorFactory
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.received.append(data)
        if data == SSL_REQUEST:
            tls = self.factory.tls
            self.transport.write(b"S" if tls else b"N")
            if tls:
                self.transport.startTLS(tls)
        else:
            self.transport.write(self.factory.question)


class ImpostorFactory(Factory):
    protocol: Any = Impostor
    noisy = False

    def __init__(self, question: bytes, tls: Any = None) -> None:
        self.question = question
        self.tls = tls
        self.received: list[bytes] = []


@asynccontextmanager
async def impostor(factory: ImpostorFactory) -> AsyncIterator[DbConfig]:
    """Give what connects to a server that asks for the password."""
    port = global_reactor().listenTCP(0, factory, interface="127.0.0.1")
    environ = {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(port.getHost().port),
        "DB_PASSWORD": "hunter2",
    }
    try:
        yield load(environ, os.devnull).config.db
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_password_is_not_sent_in_clear() -> None:
    """A server that asks for the password in clear, or for its MD5, doesn't get it."""
    for question, asked in ((CLEARTEXT, "a cleartext password"), (MD5, "a hashed password")):
        factory = ImpostorFactory(question)
        async with impostor(factory) as config:
            text = await refusal(config)
        assert asked in text
        assert "hunter2" not in text
        assert b"user\0x121" in factory.received[-1]
        assert not any(data.startswith(b"p") for data in factory.received)


@pytest_twisted.ensureDeferred
async def test_password_is_not_sent_to_a_foreign_certificate(authority: Authority) -> None:
    """TLS with any certificate doesn't make the server one that gets the password in clear."""
    factory = ImpostorFactory(CLEARTEXT, context(authority))
    async with impostor(factory) as config:
        assert "a cleartext password" in await refusal(replace(config, ssl=True))
    assert b"user\0x121" in factory.received[-1]
    assert not any(b"hunter2" in data for data in factory.received)


@pytest_twisted.ensureDeferred
async def test_password_in_clear_where_asked_for() -> None:
    """DB_REQUIRE_AUTH=password allows it: the test above would see the password."""
    factory = ImpostorFactory(CLEARTEXT)
    async with impostor(factory) as config:
        allowed = replace(config, require_auth="password")
        with pytest.raises(psycopg2.OperationalError):
            await connect(
                allowed, reactor=global_reactor(), statement_timeout_secs=5, timeout_secs=0.5
            )
    assert b"hunter2\0" in b"".join(factory.received)
