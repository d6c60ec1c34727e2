"""Parsers for the values of variables.

Each parser returns the value, or raises :class:`ValueError` with the allowed values, worded to
follow "expected" in a message.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from x121.core.types import IpNetwork, ServerName

__all__ = [
    "auth_methods",
    "boolean",
    "certificate_file",
    "db_host",
    "fast_or_stock",
    "host",
    "integer",
    "networks",
    "object_path",
    "one_of",
    "origins",
    "path",
    "printable",
    "seconds",
    "server_names",
    "text",
    "token",
]

_DAY = 86_400.0


def text(raw: str) -> str:
    """Return ``raw`` unchanged, if PostgreSQL and the system can use it as text."""
    # Bytes that are not UTF-8 appear in the environment as surrogates.
    if "\0" in raw or (not raw.isascii() and any("\ud800" <= char <= "\udfff" for char in raw)):
        raise ValueError("UTF-8 text without a NUL character")
    return raw


def token(raw: str) -> str:
    """Return a secret that fits a header and is hard to guess, or ""."""
    if raw and not re.fullmatch(r"[!-~]{16,512}", raw):
        raise ValueError("16 to 512 ASCII characters without spaces, such as openssl rand -hex 32")
    return raw


def object_path(raw: str) -> str:
    """Return the path of an object in a module."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", raw, re.ASCII):
        raise ValueError("a module and a name in it, such as studio:application")
    return raw


def boolean(raw: str) -> bool:
    """Return True for ``true`` and False for ``false``."""
    known = {"true": True, "1": True, "false": False, "0": False}
    try:
        return known[raw.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from ``low`` to ``high``."""

    def parse(raw: str) -> int:
        # int() would also accept '1_000', ' 7' and other scripts' digits.
        if not re.fullmatch(r"[0-9]{1,18}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(raw)

    return parse


def seconds(raw: str) -> float:
    """Return a duration in seconds; fractions are allowed."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", raw):
        value = float(raw)
        if 0 < value <= _DAY:
            return value
    raise ValueError("seconds above 0 and up to 86400, such as 30 or 0.5")


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts one of several words, in any case."""

    def parse(raw: str) -> str:
        if raw.lower() not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return raw.lower()

    return parse


def fast_or_stock(raw: str) -> bool:
    """Return True for ``fast`` (x121's implementation), False for ``stock`` (the library's)."""
    return one_of("fast", "stock")(raw) == "fast"


def path(raw: str) -> Path:
    """Return a file system path."""
    return Path(text(raw))


def host(raw: str) -> str:
    """Return an IP address, or a host name as in RFC 1123."""
    try:
        address = ipaddress.ip_address(raw)
        zone = getattr(address, "scope_id", None) or ""
        if re.fullmatch(r"[A-Za-z0-9._-]*", zone):
            return str(address)
    except ValueError:
        labels = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        all_numeric = raw.replace(".", "").isdigit()
        if len(raw) <= 253 and re.fullmatch(rf"{labels}(\.{labels})*", raw) and not all_numeric:
            return raw
    raise ValueError("an IP address or a host name, without a port")


def db_host(raw: str) -> str:
    """Return a host, a folder with a UNIX socket, or ""."""
    if not raw or raw.startswith("/"):
        return text(raw)  # the embedded server, or as in libpq a folder with a UNIX socket
    return host(raw)


_AUTH_METHODS = frozenset(("scram-sha-256", "md5", "password", "none"))


def auth_methods(raw: str) -> str:
    """Return the authentication methods that libpq's ``require_auth`` allows."""
    methods = _comma_separated(raw.lower())
    if not methods or not _AUTH_METHODS.issuperset(methods):
        raise ValueError("one or more of scram-sha-256, md5, password, none, separated by commas")
    return ",".join(dict.fromkeys(methods))  # libpq rejects a method that is named twice


def certificate_file(raw: str) -> str:
    """Return the absolute path of a file, or ""."""
    if not text(raw):
        return ""
    if not Path(raw).is_file():
        raise ValueError(
            "a file with certificates in PEM form, such as /etc/ssl/certs/ca-certificates.crt"
        )
    return str(Path(raw).absolute())


def _comma_separated(raw: str) -> list[str]:
    return [item.strip() for item in raw.split(",") if item.strip()]


def origins(raw: str) -> tuple[str, ...]:
    """Return origins without duplicates, each as browsers send it."""
    return tuple(dict.fromkeys(_origin(item) for item in _comma_separated(raw)))


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(raw: str) -> str:
    """Return ``raw`` as a browser would send it: lower case, no default port (RFC 6454)."""
    allowed = "exact origins such as https://app.example.com:8443, separated by commas"
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:
        raise ValueError(f"{allowed}; {_quoted(raw)} is not a URL") from None
    if raw == "*":
        raise ValueError(f"{allowed}; '*' would allow every site to use its users' cookies")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        reason = "does not begin with http:// or https:// and a host"
        raise ValueError(f"{allowed}; {_quoted(raw)} {reason}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}"
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        origin += f":{port}"
    spellings = (origin, f"{parts.scheme}://{host}:{port}")
    if raw.lower() not in spellings or not re.fullmatch(r"[a-z0-9.:/_\[\]-]+", origin):
        reason = "has more than scheme, host and port"
        if not raw.isascii():
            reason = "is not in the form that browsers send, such as https://xn--bcher-kva.example"
        raise ValueError(f"{allowed}; {_quoted(raw)} {reason}")
    return origin


def networks(raw: str) -> tuple[IpNetwork, ...]:
    """Return ranges of addresses."""
    networks = []
    allowed = "addresses or CIDR ranges such as 10.0.0.0/8, separated by commas"
    for item in _comma_separated(raw):
        try:
            network = ipaddress.ip_network(item)
        except ValueError as error:
            raise ValueError(f"{allowed}; {printable(str(error))}") from None
        if "%" in item:
            raise ValueError(f"{allowed}; {_quoted(item)} has a zone")
        networks.append(network)
    return tuple(networks)


def server_names(raw: str) -> tuple[ServerName, ...]:
    """Return the names and addresses that a request's Host may have."""
    return tuple(dict.fromkeys(_server_name(item) for item in _comma_separated(raw)))


def _server_name(raw: str) -> ServerName:
    match = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::([0-9]{1,5}))?", raw)
    name, port = (raw, None) if match is None else match.groups()
    try:
        if "%" in name or (port is not None and not 0 < int(port) <= 65535):
            raise ValueError
        try:
            served: str | IpNetwork = ipaddress.ip_network(_unbracketed(name))
        except ValueError:
            served = host(name).lower()
        return ServerName(served, None if port is None else int(port))
    except ValueError:
        allowed = "names, addresses or ranges such as api.example.com:8443, separated by commas"
        raise ValueError(f"{allowed}; {_quoted(raw)} is none of these") from None


def _unbracketed(name: str) -> str:
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def printable(text: str) -> str:
    """Return ``text`` for one line of a message: without control characters, shortened."""
    safe = "".join(char if char.isprintable() else "?" for char in text)
    return safe if len(safe) <= 100 else safe[:100] + "..."


def _quoted(text: str) -> str:
    """Return ``text`` quoted for a message."""
    return repr(text if len(text) <= 100 else text[:100] + "...")
