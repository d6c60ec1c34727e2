"""A subclass of Twisted's Headers that skips validation for values known to be safe."""

from __future__ import annotations

from functools import lru_cache

from twisted.web import http_headers

__all__ = ["COMMON_NAMES", "Headers", "canonical"]


class Headers(http_headers.Headers):
    """Twisted's headers, with methods that skip validation for safe names and values.

    Twisted searches every name and value for line breaks, which takes more time than everything
    else in making a response's head.
    """

    __slots__ = ()

    @classmethod
    def of(cls, fields: dict[bytes, list[bytes]]) -> Headers:
        """Return headers that hold ``fields``, of a strict parser, by their canonical names."""
        headers = cls.__new__(cls)
        headers._rawHeaders = fields
        return headers

    def set(self, name: str | bytes, value: str | bytes) -> None:
        """Set ``name`` to ``value``, like :meth:`setRawHeaders`."""
        if type(value) is bytes and b"\n" not in value and b"\r" not in value:
            self._rawHeaders[canonical(name)] = [value]
        else:
            self.setRawHeaders(name, [value])

    def put(self, name: bytes, value: bytes) -> None:
        """Set ``name``, which is :func:`canonical`, to ``value``, which has no line breaks."""
        self._rawHeaders[name] = [value]

    def get(self, name: bytes) -> bytes | None:
        """Return the last value of ``name``, which is :func:`canonical`, or None."""
        values = self._rawHeaders.get(name)
        return values[-1] if values else None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of ``name``, which is :func:`canonical`."""
        return self._rawHeaders.get(name, [])

    def joined(self, name: bytes) -> bytes | None:
        """Return the values of ``name``, which is :func:`canonical`, as one list, or None.

        Several lines of a field are one list (RFC 9110 section 5.3).
        """
        values = self._rawHeaders.get(name)
        return b", ".join(values) if values else None


def canonical(name: str | bytes) -> bytes:
    """Return ``name`` in the form of Twisted's headers, such as ``X-Request-Id``.

    Raises :class:`ValueError` for an invalid name.
    """
    return _cached(name) if len(name) <= _MAX_CACHED else _canonical(name)


def _canonical(name: str | bytes) -> bytes:
    headers = http_headers.Headers()
    headers.addRawHeader(name, b"")
    return next(headers.getAllRawHeaders())[0]


# Names come from clients, so the cache is bounded: in number, and by the length of a name.
_MAX_CACHED = 64
_cached = lru_cache(maxsize=512)(_canonical)

_COMMON = (
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control"),
    *("Connection", "Content-Length", "Content-Type", "Cookie", "Host", "If-Match"),
    *("If-None-Match", "Origin", "Priority", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile"),
    *("Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site"),
    *("User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id"),
)
COMMON_NAMES = {
    spelling.encode(): canonical(name)
    for name in _COMMON
    for spelling in (name, name.lower(), name.replace("Sec-Ch-Ua", "sec-ch-ua"))
}
"""The canonical names of fields that browsers and proxies send, by the names that they send."""
