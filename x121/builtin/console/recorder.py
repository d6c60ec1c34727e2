"""Recorder of the console: one sample per second, and the last errors, while the server runs.

It adds no work to a request: it reads the events of the access log, before they are formatted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypedDict

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from x121.application import AppState
from x121.logs import FIELDS, event_ids, event_message
from x121.telemetry.histogram import Histogram

__all__ = ["HISTORY_SECS", "MAX_ERRORS", "PROBE_SECS", "ErrorLine", "Recorder", "Sample"]

_log = Logger(namespace="x121.builtin.console")

HISTORY_SECS = 120
"""The number of samples that are kept, one per second."""

MAX_ERRORS = 50
"""The number of errors that are kept."""

PROBE_SECS = 0.125
"""The interval of measuring the reactor's lag: everything that blocks it for longer is seen."""

_ACCESS = "x121.access"
_ERRORS = (LogLevel.error, LogLevel.critical)
_MAX_CHARACTERS = 500


class Sample(TypedDict):
    """The measurements of the second that ends at ``time``, in seconds since the epoch.

    Latencies are None if no request ended, and ``connections`` is None before the server listens.
    ``lag_ms`` is the longest delay of a timer.
    """

    time: float
    requests_per_sec: float
    failed_per_sec: float
    p50_ms: float | None
    p99_ms: float | None
    connections: int | None
    websockets: int
    pool_in_use: int
    pool_waiting: int
    lag_ms: float


class ErrorLine(TypedDict):
    """A log line of level error or above; ``time`` is in seconds since the epoch."""

    time: float
    level: str
    logger: str
    message: str
    request_id: str | None
    connection_id: str | None


@implementer(ILogObserver)
class Recorder(Service):
    """Keeps the last ``samples`` and ``errors``, oldest first, while it runs.

    ``sampled`` is the number of samples since ``started_at``.  ``on_sample`` is called after each.
    """

    def __init__(self, state: AppState) -> None:
        self.samples: deque[Sample] = deque(maxlen=HISTORY_SECS)
        self.errors: deque[ErrorLine] = deque(maxlen=MAX_ERRORS)
        self.sampled = 0
        self.started_at = 0.0
        self.on_sample: Callable[[], object] = bool
        self._state = state
        self._clock = state.ws_manager.clock
        self._now = state.ws_manager.now
        self._durations = Histogram()
        self._failed = 0
        self._lag = 0.0
        self._sampled_at = 0.0
        self._probe: IDelayedCall | None = None
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = self._clock

    # --- service ---

    def startService(self) -> None:
        """Observe the log, and begin to sample."""
        super().startService()
        globalLogPublisher.addObserver(self)
        self.started_at = self._now()
        self._sampled_at = self._clock.seconds()
        self._probe_later()
        running = self._sampling.start(1.0, now=False)
        running.addErrback(lambda failure: _log.failure("The console stopped sampling", failure))

    def stopService(self) -> None:
        """Remove the log observer and the timers."""
        super().stopService()
        globalLogPublisher.removeObserver(self)
        if self._sampling.running:
            self._sampling.stop()
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    # --- the log ---

    def __call__(self, event: LogEvent) -> None:
        """Record a log event.  Errors may come from other threads."""
        if event.get("log_namespace") == _ACCESS and FIELDS in event:
            fields = event[FIELDS]
            self._durations.add(fields["duration_ms"])
            if fields["status"] >= 500:
                self._failed += 1
        elif event["log_level"] in _ERRORS:
            self.errors.append(_error_line(event))

    # --- the reactor ---

    def _probe_later(self) -> None:
        due = self._clock.seconds() + PROBE_SECS
        self._probe = self._clock.callLater(PROBE_SECS, self._probed, due)

    def _probed(self, due: float) -> None:
        self._lag = max(self._lag, self._clock.seconds() - due)
        self._probe_later()

    def _sample(self) -> None:
        now = self._clock.seconds()
        seconds = max(now - self._sampled_at, 1.0)  # more, if the reactor was late
        pool = self._state.pool.stats()
        self.samples.append(
            {
                "time": round(self._now(), 3),
                "requests_per_sec": round(self._durations.count / seconds, 1),
                "failed_per_sec": round(self._failed / seconds, 1),
                "p50_ms": _rounded(self._durations.quantile(0.5)),
                "p99_ms": _rounded(self._durations.quantile(0.99)),
                "connections": self._state.lifecycle.connections(),
                "websockets": self._state.ws_manager.connection_count(),
                "pool_in_use": pool.in_use,
                "pool_waiting": pool.waiting,
                "lag_ms": round(self._lag * 1000, 3),
            }
        )
        self.sampled += 1
        self._sampled_at = now
        self._durations = Histogram()
        self._failed = 0
        self._lag = 0.0
        self.on_sample()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _error_line(event: LogEvent) -> ErrorLine:
    ids = event_ids(event)
    level: Any = event["log_level"]
    message = event_message(event)
    return {
        "time": round(event["log_time"], 3),
        "level": level.name,
        "logger": event.get("log_namespace") or "-",
        "message": message[:_MAX_CHARACTERS] + "…" * (len(message) > _MAX_CHARACTERS),
        "request_id": ids.get("request_id"),
        "connection_id": ids.get("connection_id"),
    }
