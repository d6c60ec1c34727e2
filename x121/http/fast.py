"""Channel that parses requests with llhttp, and leaves special ones to Twisted's parser.

Most requests are one segment: a head, and a small body or none.  httptools (node's llhttp) parses
such a request in a few microseconds.  Browsers and proxies may send the body in segments of its
own; these are kept until it is complete.  Any other input (a part of a head, several requests, one
that is malformed, chunked, or asks for an upgrade) is passed unchanged to
:class:`x121.http.channel.Channel`, so that the responses of both channels are the same.
"""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from x121.errors import AppError
from x121.http.channel import BODY, IDLE, Channel
from x121.http.exchange import Exchange
from x121.http.head import check_target
from x121.http.head_reader import HeadReader
from x121.http.request import Request

__all__ = ["FastChannel"]

# A larger request is left to Twisted's parser, which keeps a large body in a file.
_MAX_BYTES = 16_384

# Shared by all connections: it keeps no part of an incomplete request.
_reader = HeadReader()


class _ParsedRequest(Request):
    """A request from Twisted's parser, served like those from llhttp.

    ``needs_itself`` is set for a request that the pipeline doesn't accept as an exchange.
    """

    needs_itself = False

    def process(self) -> None:
        """Serve the request as an exchange, or if it needs more as itself."""
        channel: Any = self.channel
        pipeline = channel.site.pipeline
        is_rejected = self.refusal is not None or self.body_too_large
        if pipeline is not None and not (self.needs_itself or is_rejected):
            head = self.method, self.uri, self.clientproto
            exchange = Exchange(channel, pipeline, *head, self.requestHeaders, b"")
            exchange.content = self.content
            if pipeline.accepts(exchange):
                channel.requests[-1] = exchange
                pipeline.serve(exchange)
                return
            self.route = exchange.route
        super().process()


class FastChannel(Channel):
    """Serves simple requests without Twisted's parser."""

    requestFactory: type[_ParsedRequest] = _ParsedRequest
    _missing_bytes = 0

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    # --- input ---

    def dataReceived(self, data: bytes) -> None:
        """Serve ``data`` if it is a whole request, or leave it to Twisted's parser."""
        if self._missing_bytes:
            if len(data) < self._missing_bytes:
                self._held += data
                self._missing_bytes -= len(data)
                return
            data = self._unhold() + data
        may_begin = self.phase <= IDLE and not self._waitingForTransport
        if not may_begin or self._intake.kept or len(data) > _MAX_BYTES or not self._serve(data):
            super().dataReceived(data)

    def _take_turn(self) -> None:
        """Serve the input that was kept meanwhile in the same way."""
        if len(self._intake) > _MAX_BYTES:
            super()._take_turn()
            return
        self.dataReceived(self._intake.clear())
        if self._read_all:
            self._act_on_end_of_input()

    def _serve(self, data: bytes) -> bool:
        """Serve ``data``; return False, and do nothing, if it is not one simple request."""
        head = _reader
        if not head.read(data) or head.body_bytes > self.site.max_body_bytes:
            return False
        headers = head.headers
        try:
            target = check_target(head.method, head.target, head.version, headers)
        except AppError:
            return False  # Twisted's channel finds the same error, and responds
        missing_bytes = head.head_bytes + head.body_bytes - len(data)
        if missing_bytes:
            if missing_bytes + len(data) > _MAX_BYTES:
                return False
            self._enter(BODY)
            self._held += data
            self._missing_bytes = missing_bytes
            return True
        line, body = (head.method, target, head.version), data[head.head_bytes :]
        pipeline, route = self.site.pipeline, None
        if pipeline is not None:
            exchange = Exchange(self, pipeline, *line, headers, body)
            if pipeline.accepts(exchange):
                self.serve(exchange, head.is_persistent, pipeline.serve)
                return True
            route = exchange.route
        request = self.requestFactory(self, headers=headers)
        request.route = route
        request.needs_itself = True
        request.content = io.BytesIO(body)
        request.receive(*line)
        self.serve(request, head.is_persistent, type(request).process)
        return True

    # --- a body in several segments ---

    def _unhold(self) -> bytes:
        """Return what is kept, as if it arrived now."""
        data, self._held = bytes(self._held), bytearray()
        self._missing_bytes = 0
        self.phase = IDLE  # its deadline still runs
        return data

    def _give_up_holding(self) -> None:
        """Leave what is kept to Twisted's parser, because something else has happened."""
        if self._missing_bytes:
            super().dataReceived(self._unhold())

    def expired(self) -> None:
        """Handle the end of this phase's deadline."""
        self._give_up_holding()
        super().expired()

    def drop(self) -> None:
        """End the requests and the connection, because the server is stopping."""
        self._give_up_holding()
        super().drop()

    def pauseProducing(self) -> None:
        """Begin no more requests until the client has read what was written."""
        self._give_up_holding()
        super().pauseProducing()

    def readConnectionLost(self) -> None:
        """Note that the client will send no more."""
        self._give_up_holding()
        super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._give_up_holding()
        super().connectionLost(reason)
