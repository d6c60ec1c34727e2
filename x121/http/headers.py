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

    def set(self, name: str | bytes, value: str | bytes) -> None:
        """Set ``name`` to ``value`` as :meth:`setRawHeaders` does."""
        if type(value) is bytes and b"\n" not in value and b"\r" not in value:
            self._rawHeaders[canonical(name)] = [value]
        else:
            self.setRawHeaders(name, [value])

    def put(self, name: bytes, value: bytes) -> None:
        """Set ``name``, which is :func:`canonical`, to ``value``, which has no line breaks."""
        self._rawHeaders[name] = [value]

    def take(self, name: bytes, value: bytes) -> None:
        """Add a field that a strict parser has found; ``name`` is :func:`canonical`."""
        if name in self._rawHeaders:
            self._rawHeaders[name].append(value)
        else:
            self._rawHeaders[name] = [value]

    def get(self, name: bytes) -> bytes | None:
        """Return the last value of ``name``, which is :func:`canonical`, or None."""
        values = self._rawHeaders.get(name)
        return values[-1] if values else None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of ``name``, which is :func:`canonical`."""
        return self._rawHeaders.get(name, [])


def canonical(name: str | bytes) -> bytes:
    """Return ``name`` as Twisted's headers have it, such as ``X-Request-Id``.

    Raises :class:`ValueError` for what can't be a name.
    """
    return _known(name) if len(name) <= _MAX_KNOWN else _canonical(name)


def _canonical(name: str | bytes) -> bytes:
    headers = http_headers.Headers()
    headers.addRawHeader(name, b"")
    return next(headers.getAllRawHeaders())[0]


# Names come from clients: so many are remembered, and none that is long, whatever they think up.
_MAX_KNOWN = 64
_known = lru_cache(maxsize=512)(_canonical)
