"""The turns of a reactor, measured in CPU time, while a test wants to know."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.web.iweb import IRequest

from x121.application import AppState, Feature
from x121.web.responses import json_response, no_content
from x121.web.router import Router

__all__ = ["Turns"]


class Turns(Feature):
    """Measures what the reactor's thread does from one turn to the next.

    It has the reactor turn without a pause meanwhile, so nothing of two turns is taken for one.
    CPU time is the thread's own: what the machine does besides isn't counted.
    """

    router = Router()

    def __init__(self, state: AppState) -> None:
        super().__init__(state)
        self._next: IDelayedCall | None = None
        self._last = self._longest = 0.0

    @router.route("/start")
    def start(self, request: IRequest) -> bytes:
        """Begins to measure."""
        self._longest = 0.0
        self._last = time.thread_time()
        if self._next is None:
            self._schedule()
        return no_content(request)

    @router.route("/stop")
    def stop(self, request: IRequest) -> bytes:
        """Ends it, and answers with the longest turn in milliseconds."""
        self._note()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        return json_response(request, {"longest_ms": self._longest * 1000})

    def _note(self) -> None:
        now = time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    def _turn(self) -> None:
        self._note()
        self._schedule()

    def _schedule(self) -> None:
        from twisted.internet import reactor as _reactor

        reactor: Any = _reactor
        self._next = reactor.callLater(0, self._turn)
