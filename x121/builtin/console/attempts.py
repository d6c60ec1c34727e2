"""Limit of failed logins, per address and in total.

Only new guesses count: a browser that repeats an old cookie makes one.  Memory is bounded by the
number of allowed guesses, and no timer runs.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from x121.errors import TooManyRequests
from x121.http.proxies import node_address

__all__ = ["MAX_GUESSES", "MAX_GUESSES_IN_ALL", "WINDOW_SECS", "Attempts"]

WINDOW_SECS = 60.0
"""The length of the window in which guesses are counted; it begins with the first guess."""

MAX_GUESSES = 10
"""The wrong guesses in a window after which an address has to wait."""

MAX_GUESSES_IN_ALL = 100
"""The wrong guesses in a window after which every address without a previous login has to wait."""

_MAX_KNOWN = 100


class Attempts:
    """Counts wrong guesses, each by its digest."""

    def __init__(self, *, clock: Any) -> None:
        self._clock = clock
        self._window_ends = 0.0
        self._guesses: dict[str, set[bytes]] = {}
        self._known: dict[str, None] = {}

    def check(self, address: str) -> None:
        """Raise :class:`TooManyRequests` if ``address`` has to wait before it tries again."""
        now = self._clock.seconds()
        if now >= self._window_ends:
            self._guesses.clear()
            return
        source = _source(address)
        has_to_wait = len(self._guesses.get(source, ())) >= MAX_GUESSES
        if not has_to_wait and source not in self._known:
            has_to_wait = sum(map(len, self._guesses.values())) >= MAX_GUESSES_IN_ALL
        if has_to_wait:
            raise TooManyRequests(
                "Too many wrong tokens: try again later",
                retry_after=self._window_ends - now,
            )

    def failed(self, address: str, guess: bytes) -> bool:
        """Count ``guess``, which :meth:`check` allowed, and return True if it is a new one."""
        if not self._guesses:
            self._window_ends = self._clock.seconds() + WINDOW_SECS
        guesses = self._guesses.setdefault(_source(address), set())
        is_new = guess not in guesses
        guesses.add(guess)
        return is_new

    def succeeded(self, address: str) -> None:
        """Remember a login from ``address``: wrong guesses of other addresses don't block it."""
        source = _source(address)
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]


def _source(address: str) -> str:
    """Return the addresses of one client: an IPv4 address, or an IPv6 network (RFC 6177)."""
    node = node_address(address.encode())
    return str(ipaddress.ip_network((node, 64), strict=False)) if ":" in node else node
