"""The process around the server: its memory, on which signals it ends, and its exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, Protocol

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

__all__ = ["Exit", "Signals", "settle"]

_log = Logger(namespace="x121.process")


def settle() -> None:
    """Have the garbage collector pass over all that is there now, for as long as the process runs.

    Modules and their like are most of the objects of a server, and none of its garbage.  To go
    through them takes some 30 ms each time, during which nobody is served.
    """
    gc.collect()
    gc.freeze()


class Exit:
    """Ends the process with an exit code; ``last_words`` is called just before."""

    def __init__(self, *, last_words: Callable[[], object]) -> None:
        self._last_words = last_words

    def at_once(self, code: int) -> NoReturn:
        """End the process here and now."""
        self._last_words()
        os._exit(code)

    def after_reactor(self, code: int) -> None:
        """Let the process end with ``code`` once the reactor has stopped.

        twistd returns 0 however its application ended, and asks nobody.  What it does after
        the reactor's end (removing its PID file) still happens.
        """
        if code:
            atexit.register(self.at_once, code)


class _Reactor(Protocol):
    def callFromThread(self, call: Callable[..., Any], *args: Any) -> Any: ...
    def stop(self) -> None: ...


class Signals:
    """SIGTERM and SIGINT: the first one stops ``reactor``, a second one ends the process.

    So does SIGHUP, which comes when a terminal is closed, unless whoever started us (nohup) has
    it ignored: an embedded PostgreSQL would be left behind.
    """

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, reactor: _Reactor, leave: Exit) -> None:
        self._reactor = reactor
        self._leave = leave
        self._first: str | None = None

    def install(self) -> None:
        """Take the signals over from the reactor, whose handlers don't count them."""
        for number in self._NUMBERS:
            signal.signal(number, self._received)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._received)

    def _received(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._first is not None:
            _log.warn("Received {signal} again: exiting at once", signal=name)
            self._leave.at_once(1)
        self._first = name
        # A signal handler may run between any two instructions: the rest is for the reactor.
        self._reactor.callFromThread(self._stop, name)

    def _stop(self, name: str) -> None:
        _log.info("Received {signal}, shutting down", signal=name)
        with suppress(ReactorNotRunning):  # it stops by itself when the start failed
            self._reactor.stop()
