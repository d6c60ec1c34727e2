"""Channel that parses requests that arrive whole with llhttp, and all others with Twisted.

Most requests are one segment: a head, and a small body or none.  httptools (node's llhttp) parses
such a request in a few microseconds.  Any other input (a part of a request, several requests, one
that is malformed, chunked, or asks for an upgrade or a close) is passed unchanged to
:class:`x121.http.channel.Channel`, so that the responses of both channels are the same.
"""

from __future__ import annotations

import io

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from x121.errors import AppError
from x121.http.channel import MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_LENGTH, Channel
from x121.http.exchange import Exchange
from x121.http.head import MAX_NAME_BYTES, check_head
from x121.http.headers import Headers, canonical
from x121.http.request import Request

__all__ = ["FastChannel"]

# A larger segment is unlikely to be one whole request, so it isn't parsed twice to find out.
_MAX_BYTES = 16_384

# Fields that may require more than a response on a connection that stays open.
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
        """Serve the input that was kept meanwhile in the same way."""
        if len(self._intake) <= _MAX_BYTES:
            self.dataReceived(self._intake.clear())
        else:
            super()._take_turn()

    def _serve(self, data: bytes) -> bool:
        """Serve ``data``; return False, and do nothing, if it is not one simple request."""
        reader = _reader
        if not reader.read(data):
            return False
        headers, body = reader.headers, reader.body
        if len(body) > self.site.max_body_bytes:
            return False
        try:
            target = check_head(reader.method, reader.target, b"HTTP/1.1", headers)
        except AppError:
            return False  # Twisted's channel finds the same error, and responds
        self.serve(self._request(reader.method, target, headers, body))
        return True

    def _request(
        self, method: bytes, target: bytes, headers: Headers, body: bytes
    ) -> Exchange | Request:
        """Return an exchange, or Twisted's request if that is needed."""
        pipeline = self.site.pipeline
        if pipeline is not None:
            exchange = Exchange(self, pipeline, method, target, b"HTTP/1.1", headers, body)
            if pipeline.accepts(exchange):
                return exchange
        request = self.requestFactory(self, headers=headers)
        request.content = io.BytesIO(body)
        request.receive(method, target, b"HTTP/1.1")
        return request


class _SeveralRequestsError(Exception):
    """Stops llhttp at the second request in a segment."""


class _Reader:
    """Parses one simple request from one segment.

    ``method``, ``target``, ``headers`` and ``body`` are the result.  All connections share one
    reader, because it keeps no part of an incomplete request.
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
        """Parse ``data``; return True if it is exactly one simple HTTP/1.1 request."""
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
            self._begin()  # discards llhttp's part of the next request
            return False
        self.method = self._parser.get_method()
        return (
            not self._asks_for_more
            and data.startswith(b" HTTP/1.1\r\n", len(self.method) + 1 + len(self.target))
            and self._fields <= MAX_HEAD_FIELDS
            and len(data) - len(self.body) <= MAX_HEAD_BYTES
        )

    # --- llhttp's callbacks ---

    def on_url(self, target: bytes) -> None:
        """Keep the target.  A second target belongs to a second request, which stops the parser."""
        if self._ends:
            raise _SeveralRequestsError
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, without the trailing white space that llhttp leaves on its value."""
        self._fields += 1
        if len(name) > MAX_NAME_BYTES:
            self._asks_for_more = True  # rejected by Twisted's channel, and not cached
            return
        name, value = canonical(name), value.rstrip(b" \t")
        self.headers.take(name, value)
        if name in _SPECIAL and not _is_plain(name, value):
            self._asks_for_more = True

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self.body += part

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._ends += 1


def _is_plain(name: bytes, value: bytes) -> bool:
    """Return True if a special field has a value that requires nothing special."""
    if name == b"Content-Length":
        return len(value) <= MAX_LENGTH
    return name == b"Connection" and value.lower() == b"keep-alive"


_reader = _Reader()
