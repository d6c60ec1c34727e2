"""The process around the server: its memory, on which signals it ends, and its exit code."""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn, Protocol

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

__all__ = ["Exit", "Signals", "freeze_gc", "raise_descriptor_limit"]

_log = Logger(namespace="x121.runtime.signals")

# Programs that close every descriptor they could have would take long with more.
MAX_DESCRIPTORS = 1 << 20

_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def freeze_gc() -> None:
    """Have the garbage collector pass over all that is there now, for as long as the process runs.

    Modules and their like are most of the objects of a server, and none of its garbage.  To go
    through them takes some 30 ms each time, during which nobody is served.
    """
    gc.collect()
    gc.freeze()


def raise_descriptor_limit() -> int:
    """Let the process have as many file descriptors as it may; return how many that are.

    The soft limit, mostly 1024, is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Exit:
    """Ends the process with an exit code; ``before_exit`` is called just before."""

    def __init__(self, *, before_exit: Callable[[], object]) -> None:
        self._last_words = before_exit

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
    """Signal handlers: each signal stops ``reactor`` in order, reopens the log, or is ignored.

    No signal ends the process by itself, except SIGKILL and those of a crash: an embedded
    PostgreSQL would be left behind.  A second signal to stop ends the process at once.
    ``reopen_log`` is called for SIGUSR1.
    """

    def __init__(
        self, reactor: _Reactor, leave: Exit, *, reopen_log: Callable[[str], object]
    ) -> None:
        self._reactor = reactor
        self._process_exit = leave
        self._reopen_log = reopen_log
        self._first: str | None = None

    def install(self) -> None:
        """Take the signals over from the reactor and the system.

        A signal that somebody has given a meaning keeps it: nohup ignores SIGHUP, a profiler
        handles SIGPROF.
        """
        for number in (signal.SIGTERM, signal.SIGINT):  # the reactor's own handlers don't count
            signal.signal(number, self._on_stop)
        for taken, handler in self._handlers():
            if signal.getsignal(taken) is signal.SIG_DFL:
                signal.signal(taken, handler)

    def _handlers(self) -> Iterator[tuple[int, _Handler]]:
        for number in _ends_process():
            yield number, self._on_stop
        # A terminal that is closed sends it.  Without one it comes from somebody who is used to
        # daemons, where it means this.
        yield signal.SIGHUP, self._on_stop if _has_terminal() else self._on_reopen
        yield signal.SIGUSR1, self._on_reopen
        yield signal.SIGUSR2, self._on_nothing
        # Sent to a process in the background that writes to a terminal with `tostop`; the default
        # is to stand still.
        yield signal.SIGTTOU, signal.SIG_IGN

    def _on_stop(self, number: int, _: FrameType | None) -> None:
        name = _name(number)
        if self._first is not None:
            _log.warn("Received {signal} again: exiting at once", signal=name)
            self._process_exit.at_once(1)
        self._first = name
        # A signal handler may run between any two instructions: the rest is for the reactor.
        self._reactor.callFromThread(self._stop, name)

    def _on_reopen(self, number: int, _: FrameType | None) -> None:
        self._reactor.callFromThread(self._reopen_log, _name(number))

    def _on_nothing(self, number: int, _: FrameType | None) -> None:
        text = "Received {signal}, which has no meaning yet: ignored"
        self._reactor.callFromThread(partial(_log.warn, text, signal=_name(number)))

    def _stop(self, name: str) -> None:
        _log.info("Received {signal}, shutting down", signal=name)
        with suppress(ReactorNotRunning):  # it stops by itself when the start failed
            self._reactor.stop()


def _ends_process() -> Iterator[int]:
    """Yield the signals, with no meaning of their own here, whose default is to end the process."""
    # Not all systems have all of them.
    for name in ("QUIT", "ALRM", "VTALRM", "PROF", "XCPU", "IO", "PWR", "STKFLT"):
        number = getattr(signal, f"SIG{name}", None)
        if number is not None:
            yield number
    if hasattr(signal, "SIGRTMIN"):
        yield from range(signal.SIGRTMIN, signal.SIGRTMAX + 1)


def _has_terminal() -> bool:
    """Return whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals between the first and the last
        return f"signal {number}"
