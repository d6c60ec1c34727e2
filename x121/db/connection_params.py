"""Connection parameters for libpq, chosen so that it never blocks the reactor."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from x121.config import DbConfig
from x121.reactor.lookups import lookup_threads

__all__ = ["connection_params", "hint", "resolve", "session_limits"]

_MIN_IDLE_IN_TRANSACTION_SECS = 60.0
# The setting that causes an error of libpq.
_HINTS = {
    "authentication method requirement": "DB_REQUIRE_AUTH",
    "session is read-only": "DB_TARGET_SESSION_ATTRS",
}
# A server that disappeared silently (power, cable, firewall) is detected after 30 s: while a query
# waits by the kernel's unacknowledged packets, else by keepalives.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def resolve(config: DbConfig, reactor: Any) -> Deferred[list[str]]:
    """Return the addresses of the host, in the system's order; "" for a UNIX socket.

    Fails with :class:`OSError` or :class:`UnicodeError` if the name can't be resolved.
    """
    if config.host.startswith("/"):
        return defer.succeed([""])
    try:
        return defer.succeed([str(ip_address(config.host))])
    except ValueError:
        pass
    # libpq would resolve the name itself, and block the reactor.
    found = deferToThreadPool(
        reactor,
        lookup_threads(reactor),
        socket.getaddrinfo,
        config.host,
        config.port,
        type=socket.SOCK_STREAM,
    )
    return found.addCallback(lambda infos: list(dict.fromkeys(str(info[4][0]) for info in infos)))


def connection_params(
    config: DbConfig, address: str, statement_timeout_secs: float | None
) -> dict[str, str | int]:
    """Return the parameters for libpq, with every default set that could block or vary."""
    settings: dict[str, str | int] = {
        "host": config.host,
        "port": config.port,
        "application_name": "x121",
        "client_encoding": "UTF8",
        "gssencmode": "disable",  # Kerberos would contact its servers, and block
        "require_auth": config.require_auth,  # else any server may ask for the password
        "sslmode": _sslmode(config),
        "target_session_attrs": config.target_session_attrs,
        "options": _options(statement_timeout_secs),
        **_KEEPALIVES,
    }
    optional = {
        "hostaddr": address,
        "dbname": config.name,
        "user": config.user,
        "password": config.password,
        "sslrootcert": config.ssl_root_cert,
    }
    return settings | {name: value for name, value in optional.items() if value}


def _sslmode(config: DbConfig) -> str:
    return "require" if config.ssl and config.ssl_mode == "prefer" else config.ssl_mode


def _options(statement_timeout_secs: float | None) -> str:
    """Return the session's settings; psycopg2 would set DateStyle itself, a round trip later."""
    settings = {"timezone": "UTC", "datestyle": "ISO", **session_limits(statement_timeout_secs)}
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def session_limits(statement_timeout_secs: float | None) -> dict[str, str]:
    """Return the limits that PostgreSQL enforces, in milliseconds; 0 means no limit."""
    if statement_timeout_secs is None:
        return {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    # A client process that hangs must not hold its locks forever.
    idle = max(_MIN_IDLE_IN_TRANSACTION_SECS, 2 * statement_timeout_secs)
    return {
        "statement_timeout": str(max(1, round(statement_timeout_secs * 1000))),
        "idle_in_transaction_session_timeout": str(round(idle * 1000)),
    }


def hint(text: str) -> str:
    """Return the setting that ``text``, an error of libpq, depends on, in parentheses; or ""."""
    return next((f" (see {name})" for part, name in _HINTS.items() if part in text), "")
