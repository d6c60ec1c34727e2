"""Failed logins: how many are let pass, from one address and in all.

What counts is a new guess: a browser that sends an old cookie again and again makes one.  Memory is
bounded by the guesses let pass, and no timer runs.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from x121.errors import TooManyRequests
from x121.http.proxies import node_address

__all__ = ["MAX_GUESSES", "MAX_GUESSES_IN_ALL", "WINDOW_SECS", "Attempts"]

WINDOW_SECS = 60.0
"""The time in which guesses are counted, from the first one on."""

MAX_GUESSES = 10
"""The wrong guesses in a window after which an address has to wait."""

MAX_GUESSES_IN_ALL = 100
"""The wrong guesses in a window after which everybody has to wait who has not logged in before."""

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
                "There were too many wrong tokens: try again later",
                retry_after=self._window_ends - now,
            )

    def failed(self, address: str, guess: bytes) -> bool:
        """Count ``guess``, and return whether it is a new one; :meth:`check` has let it pass."""
        if not self._guesses:
            self._window_ends = self._clock.seconds() + WINDOW_SECS
        guesses = self._guesses.setdefault(_source(address), set())
        is_new = guess not in guesses
        guesses.add(guess)
        return is_new

    def succeeded(self, address: str) -> None:
        """Remember that somebody at ``address`` has logged in; others' guesses don't bar it."""
        source = _source(address)
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]


def _source(address: str) -> str:
    """Return what one client may have: an IPv4 address, or a network of IPv6 (RFC 6177)."""
    known = node_address(address.encode())
    return str(ipaddress.ip_network((known, 64), strict=False)) if ":" in known else known
