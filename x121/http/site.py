"""The site: keeps every open connection and its deadlines, and drains them at shutdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import methodcaller

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from x121.core.deadlines import Deadlines
from x121.core.json_decoding import JsonLimits
from x121.core.types import IpNetwork
from x121.errors import reason_phrase
from x121.http.channel import Channel, Phase
from x121.http.descriptors import DescriptorReserve
from x121.http.exchange import Pipeline
from x121.http.proxies import trusted_proxy_check
from x121.http.send_rate import SendRate
from x121.http.sockets import descriptor_of

__all__ = ["Site"]

# How long a client may take to close after the server's half-close.
CLOSING_TIMEOUT_SECS = 5.0

# The same while draining, so that clients that don't close can't delay the server's stop.
DRAIN_CLOSING_SECS = 0.25

# The phases whose connections are closed first when descriptors run short, and how many of each
# are searched for one that isn't sending a response.
_MAY_MAKE_ROOM = (Phase.IDLE, Phase.NEW)
_MAX_ASKED = 100

# How many are closed for a new one.  With one, the descriptors of those that are still closing
# could add up: Twisted's ports accept 100 connections in a turn, and 20 more in each of the next.
_ROOM = 2

# Limits the cache: handlers may set any reason phrase.
_MAX_STATUS_LINES = 100


class Site(server.Site):
    """Serves ``resource`` to every connection, within limits.

    ``max_body_bytes`` limits a request's body, ``json_limits`` one that is decoded as JSON,
    ``header_timeout_secs`` the time for its head to arrive, ``request_timeout_secs`` the time for
    its body, and ``keepalive_timeout_secs`` the time between two requests.
    ``min_send_bytes_per_sec`` is the minimum rate at which clients must read responses (0: any).
    ``trusted_proxies`` are networks whose forwarding headers are trusted.  ``make_channel`` creates
    the HTTP protocol of a connection.  ``pipeline`` serves requests that don't need Twisted's
    ``Request`` in the same way as ``resource``.
    """

    noisy = False

    def __init__(
        self,
        resource: IResource,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        max_body_bytes: int,
        json_limits: JsonLimits,
        header_timeout_secs: float,
        request_timeout_secs: float,
        keepalive_timeout_secs: float,
        min_send_bytes_per_sec: int = 0,
        trusted_proxies: Sequence[IpNetwork] = (),
        make_channel: Callable[[], Channel] = Channel,
        pipeline: Pipeline | None = None,
    ) -> None:
        super().__init__(resource, reactor=clock)
        self.make_channel = make_channel
        self.pipeline = pipeline
        self.clock = clock
        self._now = now
        self.max_body_bytes = max_body_bytes
        self.json_limits = json_limits
        self.is_trusted: Callable[[str], bool] = lru_cache(maxsize=1024)(
            trusted_proxy_check(trusted_proxies)
        )
        self.draining = False
        self.requests_drained = 0
        self._in_flight: set[Channel] = set()
        # A new client has as long for its first byte as for a head.  The time for a response is
        # limited by the timeout middleware.
        seconds = {
            Phase.NEW: header_timeout_secs,
            Phase.IDLE: keepalive_timeout_secs,
            Phase.BODY: request_timeout_secs,
            Phase.CLOSING: CLOSING_TIMEOUT_SECS,
        }
        self.deadlines: dict[Phase, Deadlines[Channel] | None] = {
            Phase.ANSWER: None,
            Phase.UPGRADED: None,
        }
        for phase, limit in seconds.items():
            self.deadlines[phase] = Deadlines(limit, methodcaller("expired"), clock=clock)
        self.send_rate = SendRate(min_send_bytes_per_sec, methodcaller("too_slow"), clock=clock)
        # Shared, so that its keys are in the order of their clients' last activity.
        self.deadlines[Phase.HEAD] = self.deadlines[Phase.NEW]
        self._reserve = DescriptorReserve(clock=clock)
        self._channels: set[Channel] = set()
        self._waiting: list[Deferred[None]] = []
        self._second = -1
        self._date = b""
        self._first_lines: dict[tuple[bytes, int, bytes | None], bytes] = {}

    # --- Twisted's factory methods ---

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        """Return a channel for a new connection; Twisted's method could also choose HTTP/2."""
        channel = self.make_channel()
        channel.factory = self
        channel.site = self
        return channel

    def startFactory(self) -> None:
        """Do nothing: Twisted's log file and its clock aren't used."""

    def stopFactory(self) -> None:
        """Do nothing: connections outlive the port; see :meth:`drain`."""

    def log(self, request: object) -> None:
        """Do nothing: the access log is written by middleware."""

    # --- for channels and requests ---

    def opened(self, channel: Channel) -> None:
        """Note a new connection; if descriptors run short, close an idle one for it."""
        self._channels.add(channel)
        if self._reserve.is_touched_by(descriptor_of(channel.transport)):
            self._make_room(channel)

    def _make_room(self, newcomer: Channel) -> None:
        """Close the connections that have been idle longest, or if there is none ``newcomer``."""
        idle = chain.from_iterable(
            islice(self.deadlines[phase] or (), _MAX_ASKED) for phase in _MAY_MAKE_ROOM
        )
        oldest = list(islice((c for c in idle if not c.is_sending), _ROOM))
        for channel in oldest:
            channel.close_now()
        if not oldest:
            newcomer.abort()
        self._reserve.note(closed=len(oldest), refused=int(not oldest))

    def closed(self, channel: Channel) -> None:
        """Note that a connection is closed."""
        self._channels.discard(channel)
        if channel in self._in_flight:
            self._in_flight.discard(channel)
            self.requests_drained += 1
        if not self._channels:
            waiting, self._waiting = self._waiting, []
            for drained in waiting:
                drained.callback(None)

    def date(self) -> bytes:
        """Return the value of Date, formatted once a second (RFC 9110 section 5.6.7)."""
        if int(self._now()) != self._second:
            self._begin_second()
        return self._date

    def _begin_second(self) -> None:
        self._second = int(self._now())
        self._date = datetimeToString(self._second)
        self._first_lines.clear()

    def first_lines(self, version: bytes, code: int, reason: bytes | None = None) -> bytes:
        """Return a response's status line and Date; ``reason`` is that of RFC 9110 by default."""
        if int(self._now()) != self._second:
            self._begin_second()
        lines = self._first_lines.get((version, code, reason))
        if lines is None:
            phrase = reason_phrase(code).encode() if reason is None else reason
            lines = b"%b %d %b\r\nDate: %b\r\n" % (version, code, phrase, self._date)
            if len(self._first_lines) < _MAX_STATUS_LINES:
                self._first_lines[version, code, reason] = lines
        return lines

    # --- the end ---

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._channels)

    def drain(self) -> Deferred[None]:
        """Close idle connections, let requests in flight finish, then close their connections.

        Requests that have arrived but are not read yet are also in flight.  Returns a Deferred that
        fires when no connection is left.
        """
        self.draining = True
        for channel in list(self._channels):
            if channel.in_flight:
                self.finishing(channel)
        self._shorten_closing()
        self._close_idle()
        drained: Deferred[None] = Deferred(self._waiting.remove)
        if self._channels:
            self._waiting.append(drained)
        else:
            drained.callback(None)
        return drained

    def finishing(self, channel: Channel) -> None:
        """Note that ``channel`` has a request whose response is the last on its connection."""
        self._in_flight.add(channel)

    def _shorten_closing(self) -> None:
        """Shorten the wait for clients to close, including waits that have begun."""
        self.deadlines[Phase.CLOSING] = Deadlines(
            DRAIN_CLOSING_SECS, methodcaller("expired"), clock=self.clock
        )
        for channel in self._channels:
            if channel.phase is Phase.CLOSING:
                channel.close()

    def _close_idle(self) -> None:
        """Close idle connections; those with unread input have their turn first."""
        idle = [channel for channel in self._channels if channel.phase.between_requests]
        unread = {channel for channel in idle if channel.has_input and not channel.is_sending}
        for channel in idle:
            if channel not in unread:
                channel.close()
        if unread:
            self.clock.callLater(0, self._close_idle)

    def drop(self) -> int:
        """Cancel every handler and drop every connection that is left.

        Returns the number of connections with a complete request but no complete response.  An
        incomplete request gets 503: its client may send it to another server.
        """
        left = list(self._channels)
        dropped = {channel for channel in left if channel.in_flight}
        self.requests_drained += len(self._in_flight - dropped)
        self._in_flight.clear()
        for channel in left:
            channel.drop()
        return len(dropped)
