"""Signals, exit code and resource limits of the server's process."""

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

__all__ = ["Exit", "Signals", "freeze_gc", "freeze_imports", "raise_descriptor_limit"]

_log = Logger(namespace="x121.runtime.signals")

# With a higher limit, child programs that close all possible descriptors would take long.
MAX_DESCRIPTORS = 1 << 20

_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def freeze_imports() -> None:
    """Exclude the modules that are imported so far from the garbage collections during the start.

    Each of them would scan all modules again, and find nothing: a sixth of the time of a start.
    """
    gc.freeze()


def freeze_gc() -> None:
    """Exclude all existing objects from garbage collection for the rest of the process's life.

    Modules and similar objects are most of a server's memory, and never garbage. Scanning them
    takes some 30 ms each time, during which the server handles no requests.
    """
    gc.collect()
    gc.freeze()


def raise_descriptor_limit() -> int:
    """Raise the limit of open file descriptors to the allowed maximum, and return it.

    The soft limit, usually 1024, is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        with suppress(ValueError, OSError):  # a system may allow less than its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Exit:
    """Ends the process with an exit code; ``before_exit`` is called just before."""

    def __init__(self, *, before_exit: Callable[[], object]) -> None:
        self._last_words = before_exit

    def at_once(self, code: int) -> NoReturn:
        """End the process immediately."""
        self._last_words()
        os._exit(code)

    def after_reactor(self, code: int) -> None:
        """End the process with ``code`` once the reactor has stopped.

        twistd itself always exits with 0 and has no hook to change that. Its steps after the
        reactor's end (removing its PID file) still happen.
        """
        if code:
            atexit.register(self.at_once, code)


class _Reactor(Protocol):
    def callFromThread(self, call: Callable[..., Any], *args: Any) -> Any: ...
    def stop(self) -> None: ...


class Signals:
    """Signal handlers: each signal stops ``reactor`` in order, reopens the log, or is ignored.

    No signal ends the process immediately, except SIGKILL and those of a crash, because an embedded
    PostgreSQL would be left running. A second signal to stop exits at once. ``reopen_log`` is
    called for SIGUSR1.
    """

    def __init__(
        self, reactor: _Reactor, leave: Exit, *, reopen_log: Callable[[str], object]
    ) -> None:
        self._reactor = reactor
        self._process_exit = leave
        self._reopen_log = reopen_log
        self._first: str | None = None

    def install(self) -> None:
        """Replace the signal handlers of the reactor and the system.

        A signal that already has a handler or is ignored is left alone: nohup ignores SIGHUP, a
        profiler handles SIGPROF.
        """
        for number in (signal.SIGTERM, signal.SIGINT):  # except for the reactor's own handlers
            signal.signal(number, self._on_stop)
        for taken, handler in self._handlers():
            if signal.getsignal(taken) is signal.SIG_DFL:
                signal.signal(taken, handler)

    def _handlers(self) -> Iterator[tuple[int, _Handler]]:
        for number in _ends_process():
            yield number, self._on_stop
        # A terminal that is closed sends it.  Without a terminal it comes from an operator, and
        # reopens the log, as is usual for daemons.
        yield signal.SIGHUP, self._on_stop if _has_terminal() else self._on_reopen
        yield signal.SIGUSR1, self._on_reopen
        yield signal.SIGUSR2, self._on_nothing
        # Sent to a background process that writes to a terminal with `tostop`; by default it
        # suspends the process.
        yield signal.SIGTTOU, signal.SIG_IGN

    def _on_stop(self, number: int, _: FrameType | None) -> None:
        name = _name(number)
        if self._first is not None:
            _log.warn("Received {signal} again: exiting at once", signal=name)
            self._process_exit.at_once(1)
        self._first = name
        # A signal handler may run between any two instructions, so the reactor does the rest.
        self._reactor.callFromThread(self._stop, name)

    def _on_reopen(self, number: int, _: FrameType | None) -> None:
        self._reactor.callFromThread(self._reopen_log, _name(number))

    def _on_nothing(self, number: int, _: FrameType | None) -> None:
        text = "Received {signal}, which is not used: ignored"
        self._reactor.callFromThread(partial(_log.warn, text, signal=_name(number)))

    def _stop(self, name: str) -> None:
        _log.info("Received {signal}, shutting down", signal=name)
        with suppress(ReactorNotRunning):  # it stops by itself after a failed start
            self._reactor.stop()


def _ends_process() -> Iterator[int]:
    """Yield the signals without a handler here whose default is to end the process."""
    # Some systems lack some of them.
    for name in ("QUIT", "ALRM", "VTALRM", "PROF", "XCPU", "IO", "PWR", "STKFLT"):
        number = getattr(signal, f"SIG{name}", None)
        if number is not None:
            yield number
    if hasattr(signal, "SIGRTMIN"):
        yield from range(signal.SIGRTMIN, signal.SIGRTMAX + 1)


def _has_terminal() -> bool:
    """Return True if the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"signal {number}"
