"""HTTP requests that arrive whole, read by llhttp; all others by Twisted's parser.

Most requests are one segment: a head, and a small body or none.  httptools (node's llhttp) reads
such a request in a few microseconds.  Whatever is not exactly that (a part of a request, several,
one that is malformed, chunked, asks for an upgrade or to be closed) is left to
:class:`x121.http.channel.Channel` as if nothing had looked at it, so both answer everything alike.
"""

from __future__ import annotations

import io

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from x121.errors import AppError
from x121.http.channel import MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_LENGTH, Channel
from x121.http.head import MAX_NAME_BYTES, check_head
from x121.http.headers import Headers, canonical

__all__ = ["FastChannel"]

# A segment that is larger is hardly a request of this kind, and not read twice to find out.
_MAX_BYTES = 16_384

# Fields that may ask for more than an answer on a connection that stays open.
_SPECIAL = frozenset(
    (b"Connection", b"Content-Length", b"Expect", b"Transfer-Encoding", b"Upgrade")
)


class FastChannel(Channel):
    """Serves requests that arrive whole without Twisted's parser."""

    def dataReceived(self, data: bytes) -> None:
        """Serve ``data`` if it is a whole request, or leave it to Twisted's parser."""
        if not (self.may_begin and len(data) <= _MAX_BYTES and self._serve(data)):
            super().dataReceived(data)

    def _take_turn(self) -> None:
        """Have the same look at what was kept meanwhile."""
        if len(self._intake) <= _MAX_BYTES:
            self.dataReceived(self._intake.clear())
        else:
            super()._take_turn()

    def _serve(self, data: bytes) -> bool:
        """Serve ``data``; return False, and do nothing, if it is not for this channel."""
        reader = _reader
        if not reader.read(data):
            return False
        headers, body = reader.headers, reader.body
        if len(body) > self.site.max_body_bytes:
            return False
        try:
            target = check_head(reader.method, reader.target, b"HTTP/1.1", headers)
        except AppError:
            return False  # Twisted's channel will find out, too, and answer
        request = self.requestFactory(self, headers=headers)
        request.content = io.BytesIO(body)
        self.serve(request, reader.method, target)
        return True


class _SeveralRequestsError(Exception):
    """Keeps llhttp from reading on in what is not for this channel."""


class _Reader:
    """Reads a request that asks for nothing but an answer out of one segment.

    ``method``, ``target``, ``headers`` and ``body`` are what was read.  One reader does for all
    connections, because nothing stays in it of a request that isn't whole.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> bool:
        """Read ``data``; return whether it is one such request of HTTP/1.1 and nothing else."""
        self.headers = Headers()
        self.body = b""
        self._fields = self._ends = 0
        self._asks_for_more = False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._begin()
            return False
        whole = data.find(b"\r\n\r\n") + 4 + len(self.body)
        if self._ends != 1 or len(data) != whole:
            self._begin()  # else what llhttp has of the next request would stay in it
            return False
        self.method = self._parser.get_method()
        return (
            not self._asks_for_more
            and data.startswith(b" HTTP/1.1\r\n", len(self.method) + 1 + len(self.target))
            and self._fields <= MAX_HEAD_FIELDS
            and len(data) - len(self.body) <= MAX_HEAD_BYTES
        )

    # --- what llhttp finds ---

    def on_url(self, target: bytes) -> None:
        """Keep the target.  A second one is that of another request: there are too many."""
        if self._ends:
            raise _SeveralRequestsError
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field; llhttp leaves it the white space behind its value."""
        self._fields += 1
        if len(name) > MAX_NAME_BYTES:
            self._asks_for_more = True  # it is refused, and not remembered
            return
        name, value = canonical(name), value.rstrip(b" \t")
        self.headers.take(name, value)
        if name in _SPECIAL and not _is_plain(name, value):
            self._asks_for_more = True

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self.body += part

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._ends += 1


def _is_plain(name: bytes, value: bytes) -> bool:
    """Whether a special field asks for nothing that is special."""
    if name == b"Content-Length":
        return len(value) <= MAX_LENGTH
    return name == b"Connection" and value.lower() == b"keep-alive"


_reader = _Reader()
