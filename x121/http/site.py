"""The site: every open connection, its deadlines, and how they are drained at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from x121.errors import ServiceUnavailable
from x121.http.channel import Channel, Phase
from x121.http.deadlines import Deadlines
from x121.http.proxies import make_trust
from x121.json_decoding import JsonLimits
from x121.types import IpNetwork

__all__ = ["Site"]

# How long a client may take to close after it was told to.
CLOSING_TIMEOUT_SECS = 5.0

# Handlers may make reason phrases up.
_MOST_STATUS_LINES = 100


class Site(server.Site):
    """Serves ``resource`` to every connection, within limits.

    ``max_body_bytes`` bounds a request's body, ``json_limits`` one that is decoded as JSON,
    ``head_timeout_secs`` the time for its head to arrive, ``body_timeout_secs`` that for its
    body, ``idle_timeout_secs`` the time between two requests.  ``trusted_proxies`` are networks
    whose forwarding headers are believed.  ``make_channel`` makes what speaks HTTP on a
    connection.
    """

    noisy = False

    def __init__(
        self,
        resource: IResource,
        *,
        clock: IReactorTime,
        max_body_bytes: int,
        json_limits: JsonLimits,
        head_timeout_secs: float,
        body_timeout_secs: float,
        idle_timeout_secs: float,
        trusted_proxies: Sequence[IpNetwork] = (),
        make_channel: Callable[[], Channel] = Channel,
    ) -> None:
        super().__init__(resource, reactor=clock)
        self.make_channel = make_channel
        self.clock = clock
        self.max_body_bytes = max_body_bytes
        self.json_limits = json_limits
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=1024)(make_trust(trusted_proxies))
        self.draining = False
        self.requests_drained = 0
        self._in_flight: set[Channel] = set()
        # Whoever connects has as long for a first byte as for a head.  How long an answer may
        # take is a wrapper's business.
        seconds = {
            Phase.NEW: head_timeout_secs,
            Phase.IDLE: idle_timeout_secs,
            Phase.HEAD: head_timeout_secs,
            Phase.BODY: body_timeout_secs,
            Phase.CLOSING: CLOSING_TIMEOUT_SECS,
        }
        self.deadlines: dict[Phase, Deadlines[Channel] | None] = {
            Phase.ANSWER: None,
            Phase.UPGRADED: None,
        }
        for phase, limit in seconds.items():
            self.deadlines[phase] = Deadlines(limit, Channel.expired, clock=clock)
        self._channels: set[Channel] = set()
        self._waiting: list[Deferred[None]] = []
        self._second = -1
        self._date = b""
        self._first_lines: dict[tuple[bytes, int, bytes], bytes] = {}

    # --- what Twisted asks of a factory ---

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        """Return a channel for a new connection; Twisted's own could also be HTTP/2."""
        channel = self.make_channel()
        channel.factory = self
        channel.site = self
        return channel

    def startFactory(self) -> None:
        """Start nothing: Twisted's log file and its clock aren't used."""

    def stopFactory(self) -> None:
        """Stop nothing: connections outlive the port; see :meth:`drain`."""

    def log(self, request: object) -> None:
        """Log nothing: the access log is a wrapper's."""

    # --- what channels and requests ask ---

    def opened(self, channel: Channel) -> None:
        """Note a new connection."""
        self._channels.add(channel)

    def closed(self, channel: Channel) -> None:
        """Note that a connection is gone."""
        self._channels.discard(channel)
        if channel in self._in_flight:
            self._in_flight.discard(channel)
            self.requests_drained += 1
        if not self._channels:
            waiting, self._waiting = self._waiting, []
            for drained in waiting:
                drained.callback(None)

    def date(self) -> bytes:
        """Return the time as HTTP has it, made once a second (RFC 9110 section 5.6.7)."""
        second = int(self.clock.seconds())
        if second != self._second:
            self._second = second
            self._date = datetimeToString(second)
            self._first_lines.clear()
        return self._date

    def first_lines(self, version: bytes, code: int, reason: bytes) -> bytes:
        """Return the first two lines of an answer, without the second's end: status and date."""
        date = self.date()
        lines = self._first_lines.get((version, code, reason))
        if lines is None:
            lines = b"%b %d %b\r\nDate: %b" % (version, code, reason, date)
            if len(self._first_lines) < _MOST_STATUS_LINES:
                self._first_lines[version, code, reason] = lines
        return lines

    # --- the end ---

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._channels)

    def drain(self) -> Deferred[None]:
        """Close what is idle, let requests in flight finish, then close their connections.

        Returns a Deferred that fires when no connection is left.
        """
        self.draining = True
        self._in_flight = {channel for channel in self._channels if channel.in_flight}
        for channel in list(self._channels):
            if channel.phase.between_requests:
                channel.close()
        drained: Deferred[None] = Deferred(self._waiting.remove)
        if self._channels:
            self._waiting.append(drained)
        else:
            drained.callback(None)
        return drained

    def drop(self) -> int:
        """Cancel every handler and drop every connection that is left.

        Returns how many of them had a request in flight when the drain began.
        """
        dropped = len(self._in_flight)
        self._in_flight.clear()
        for channel in list(self._channels):
            if channel.phase is Phase.ANSWER:
                for request in list(channel.requests):
                    request.fail(ServiceUnavailable("The server is shutting down"))
                    request.cancel()
            channel.abort()
        return dropped
