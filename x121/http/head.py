"""Validation of request heads by RFC 9112: pure functions on bytes.

Each raises :class:`~x121.errors.AppError`.  Its message says what is wrong, and never repeats the
client's input.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from x121.errors import BadRequest, MethodNotAllowed, UriTooLong
from x121.http.headers import Headers

__all__ = [
    "MAX_METHOD_BYTES",
    "MAX_NAME_BYTES",
    "MAX_TARGET_BYTES",
    "METHODS",
    "check_fields",
    "check_head",
    "check_target",
    "options_in",
    "serve_as_1_1",
]

MAX_TARGET_BYTES = 8000
"""RFC 9112 section 3: a server ought to support request lines of at least 8000 octets."""
MAX_METHOD_BYTES = 64
MAX_NAME_BYTES = 256
"""Limit of a header field's name.  Twisted caches up to 10,000 names, from any client."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# RFC 3986 section 3.2.2, without the characters that no real host name has: Host may be echoed in
# a Location.  A comma would make it a list, "@" would make it user information.
_LABEL = rb"[A-Za-z0-9_-]{1,63}"
_AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:" + _LABEL + rb"\.)*" + _LABEL + rb"\.?)(?::([0-9]{0,5}))?"
)
_MAX_AUTHORITY_BYTES = 261  # RFC 1035 section 2.3.4, and a port
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([^#]*)")
# Most targets match this, and need no further check.
_PLAIN_TARGET = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@/?-]*")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_OR_SPACE = re.compile(rb"[\x00-\x20\x7f]")
_NEWER_1_X = re.compile(rb" HTTP/1\.[2-9]$")


def serve_as_1_1(request_line: bytes) -> bytes:
    """Return the line with any minor version above 1 replaced by 1.1 (RFC 9110 section 2.5)."""
    return _NEWER_1_X.sub(b" HTTP/1.1", request_line)


def options_in(headers: Headers, name: bytes) -> set[bytes]:
    """Return the items of a list field such as Connection, in lower case (RFC 9110 section 5.6.1).

    ``name`` is :func:`~x121.http.headers.canonical`.
    """
    values = headers.get_all(name)
    return {option.strip().lower() for option in b",".join(values).split(b",")}


def check_head(method: bytes, target: bytes, version: bytes, headers: Headers) -> bytes:
    """Return the target of a valid head, in origin form or ``*``.

    Header values are checked by :func:`check_fields` or a strict parser.  Raises
    :class:`BadRequest`, :class:`UriTooLong`, or for CONNECT :class:`MethodNotAllowed`.
    """
    _check_length(version, headers)
    return check_target(method, target, version, headers)


def check_target(method: bytes, target: bytes, version: bytes, headers: Headers) -> bytes:
    """Do the same for a head without a Transfer-Encoding, whose length a parser has checked."""
    hosts = headers.get_all(b"Host")
    if len(hosts) != 1 or len(hosts[0]) > _MAX_AUTHORITY_BYTES or not _is_known_host(hosts[0]):
        _check_no_host(version, hosts)
    if method == b"CONNECT":
        raise MethodNotAllowed("CONNECT is not supported: this is not a proxy", allow=METHODS)
    if len(target) > MAX_TARGET_BYTES:
        raise UriTooLong(f"The request target is longer than {MAX_TARGET_BYTES} bytes")
    if _PLAIN_TARGET.fullmatch(target):
        return target
    if _CONTROL_OR_SPACE.search(target):
        raise BadRequest("The request target contains a space or a control character")
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest("The target * is for OPTIONS only")
        return target
    if not target.startswith(b"/"):
        target = _from_absolute(target, hosts[0] if hosts else None)
    _check_path(target)
    return target


def check_fields(headers: Headers) -> None:
    """Raise :class:`BadRequest` for a field that contains a control character."""
    for _, values in headers.getAllRawHeaders():
        for value in values:
            if _CONTROL.search(value):
                raise BadRequest("A header field contains a control character")


def _check_length(version: bytes, headers: Headers) -> None:
    """Allow one length at most, and no transfer coding but chunked (RFC 9112 section 6)."""
    codings = headers.get_all(b"Transfer-Encoding")
    if not codings:
        return
    if version != b"HTTP/1.1":
        raise BadRequest("Transfer-Encoding needs HTTP/1.1")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise BadRequest("Transfer-Encoding must be chunked, and occur once")
    if headers.hasHeader(b"Content-Length"):
        raise BadRequest("Content-Length and Transfer-Encoding exclude each other")


def _check_no_host(version: bytes, hosts: list[bytes]) -> None:
    """Raise the error for a head without one valid Host (RFC 9112 section 3.2)."""
    if not hosts and version == b"HTTP/1.0":
        return  # may omit it
    if not hosts:
        raise BadRequest("A Host header is required")
    if len(hosts) != 1:
        raise BadRequest("There is more than one Host header")
    raise BadRequest("The Host header is not a host name or address with an optional port")


def _is_authority(text: bytes) -> bool:
    match = _AUTHORITY.fullmatch(text)
    if match is None or len(text) > _MAX_AUTHORITY_BYTES or int(match[2] or 0) > 65535:
        return False
    return match[1] is None or _is_ipv6(match[1])


# Most requests have one of the same few names.
_is_known_host = lru_cache(maxsize=256)(_is_authority)


def _is_ipv6(text: bytes) -> bool:
    try:
        ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def _from_absolute(target: bytes, host: bytes | None) -> bytes:
    """Return the origin form of a target in absolute form (RFC 9112 section 3.2.2)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _is_authority(match[1]):
        raise BadRequest("The request target is neither a path nor an http URL")
    if host is not None and match[1].lower() != host.lower():
        raise BadRequest("The request target and the Host header name different hosts")
    rest = match[2]
    return rest if rest.startswith(b"/") else b"/" + rest


def _check_path(target: bytes) -> None:
    if _BAD_ESCAPE.search(target):
        raise BadRequest("The target contains a % that is not followed by two hexadecimal digits")
    if b"#" in target:
        raise BadRequest("The target contains a fragment, which must not be sent to a server")
    path = target.partition(b"?")[0]
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise BadRequest("The path is not UTF-8") from None
    if "\0" in text:
        raise BadRequest("The path contains a NUL character")
