"""Header fields, as Twisted keeps them, put in without its checks where they are known good."""

from __future__ import annotations

from functools import lru_cache

from twisted.web import http_headers

__all__ = ["Headers", "canonical"]


class Headers(http_headers.Headers):
    """Twisted's headers, and a way to fill them with what needs no check.

    Twisted looks through every name and value for line breaks, which for the headers of every
    answer costs more than all that an answer's head is made of.
    """

    __slots__ = ()

    def put(self, name: bytes, value: bytes) -> None:
        """Set ``name``, which is :func:`canonical`, to ``value``, which has no line breaks."""
        self._rawHeaders[name] = [value]

    def take(self, name: bytes, value: bytes) -> None:
        """Add a field that a strict parser has found."""
        self._rawHeaders.setdefault(canonical(name), []).append(value)

    def get(self, name: bytes) -> bytes | None:
        """Return the last value of ``name``, which is :func:`canonical`, or None."""
        values = self._rawHeaders.get(name)
        return values[-1] if values else None


def canonical(name: bytes) -> bytes:
    """Return ``name`` as Twisted's headers have it, such as ``X-Request-Id``."""
    return _known(name) if len(name) <= _LONGEST_KNOWN else _canonical(name)


def _canonical(name: bytes) -> bytes:
    headers = http_headers.Headers()
    headers.addRawHeader(name, b"")
    return next(headers.getAllRawHeaders())[0]


# Names come from clients: so many are remembered, and none that is long, whatever they think up.
_LONGEST_KNOWN = 64
_known = lru_cache(maxsize=512)(_canonical)
