"""Exchange: one request and its response, without Twisted's ``Request``.

A typed endpoint needs only values: it reads the request's method, target, headers and body, and
returns a response.  An exchange holds these, and what its connection asks of a request that is
being handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES

from x121.errors import AppError
from x121.http.delivery import MAX_JOINED_BYTES, SLICE_BYTES, Delivery
from x121.http.facts import RequestFacts
from x121.http.headers import Headers
from x121.http.response import EncodedResponse, error_response

__all__ = ["Exchange", "Pipeline", "Result"]

Result = Any
"""An :class:`EncodedResponse`, or a coroutine or Deferred of one."""


class Pipeline(Protocol):
    """The application, as a connection sees it: :class:`x121.middleware.pipeline.Pipeline`."""

    def accepts(self, exchange: Exchange, /) -> bool: ...
    def serve(self, exchange: Exchange, /) -> None: ...
    def respond(self, exchange: Exchange, response: EncodedResponse, /) -> None: ...
    def close(self, exchange: Exchange, /) -> None: ...


class Channel(Protocol):
    """The part of a connection that an exchange uses."""

    site: Any
    peer: IAddress
    transport: Any
    is_trusted_proxy: bool

    def isSecure(self) -> bool: ...
    def make_head(
        self, version: bytes, code: int, reason: bytes | None, fields: bytes, /
    ) -> bytes: ...
    def requestDone(self, request: Any, /) -> None: ...
    def abandon(self, request: Any, /) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool, /) -> None: ...
    def unregisterProducer(self) -> None: ...


class Exchange(RequestFacts):
    """A complete request, and the state of its response.

    ``endpoint`` and ``arguments`` are what the pipeline has found for it, and ``route`` what it has
    found for Twisted's request, if that is needed.  ``begun`` is the time of its arrival.  The
    state has the names of Twisted's ``Request``: ``code`` is the status of the response,
    ``sentLength`` the number of bytes of its body that were written, and ``finished`` is true once
    it is complete.  ``is_finished`` is also true if the client has disconnected, and ``is_waiting``
    once the exchange has a deadline.
    """

    # Most exchanges keep these values, and setting them takes time.
    code = 0
    sentLength = 0
    finished = False
    is_finished = False
    is_delivering = False
    is_waiting = False
    late_error: AppError | None = None
    begun = 0.0
    route: Any = None
    content: BinaryIO | None = None
    """The body of a request from Twisted's parser, which keeps a large one in a file."""

    endpoint: Callable[[Exchange, Any], Result]
    arguments: Any

    def __init__(
        self,
        channel: Channel,
        pipeline: Pipeline,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: Headers,
        body: bytes,
    ) -> None:
        self.channel = channel
        self.site = channel.site
        self.client = channel.peer
        self.is_through_trusted_proxy = channel.is_trusted_proxy
        self._pipeline = pipeline
        self.method = method
        self.uri = target
        self.path = target.partition(b"?")[0]
        self.clientproto = version
        self.requestHeaders = headers
        self._body = body

    # --- the request ---

    def read_body(self, limit: int) -> bytes:
        """Return the body, or its first ``limit`` bytes."""
        return self._body[:limit] if self.content is None else self.content.read(limit)

    def _has_tls(self) -> bool:
        return self.channel.isSecure()

    # --- the response ---

    def send(self, code: int, fields: bytes, body: bytes) -> None:
        """Write a response, with ``fields`` as lines, and end the exchange.

        A large body is written as fast as the client reads it.
        """
        head = self.channel.make_head(self.clientproto, code, None, fields)
        self.code = code
        write = self.channel.transport.write
        if not body or self.method == b"HEAD" or code in NO_BODY_CODES:
            write(head)
        elif len(body) <= MAX_JOINED_BYTES:
            self.sentLength = len(body)
            write(head + body)
        else:
            write(head)
            if len(body) > SLICE_BYTES:
                self.is_delivering = True
                Delivery(self, body).start()
                return
            self.write(body)
        self.finish()

    def write(self, data: bytes) -> None:
        """Write a part of the body."""
        self.sentLength += len(data)
        self.channel.transport.write(data)

    def finish(self) -> None:
        """End the exchange: the response is written."""
        self.finished = self.is_finished = True
        self._pipeline.close(self)
        if self.content is not None:
            self.content.close()
        self.channel.requestDone(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause ``producer`` while the client doesn't read."""
        self.channel.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Release the producer."""
        self.channel.unregisterProducer()

    # --- without a response ---

    def fail(self, error: AppError) -> None:
        """Respond with ``error``; if the response has begun, drop the connection."""
        if self.is_finished:
            return
        if self.code:
            self.late_error = error
            self.channel.abandon(self)
        else:
            self._pipeline.respond(self, error_response(error))

    def connectionLost(self, reason: Failure) -> None:
        """End the exchange: the connection is closed.  The handler is cancelled."""
        if self.is_finished:
            return
        self.is_finished = True
        self._body = b""  # a cancelled handler's traceback keeps the exchange for a while
        self._pipeline.close(self)
        if self.content is not None:
            self.content.close()
        self.cancel()
