"""The log: one line per event, as JSON or for a console, with the request's id on every line.

All events arrive through ``twisted.logger``: from ``Logger`` calls, from Python's ``logging`` and
``warnings``, and from printed output (which twistd redirects).  An event is filtered by the level
of its part and formatted at once.  The lines of one reactor turn are written in one call.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from x121.core import json_encoding
from x121.core.clocks import wall_time
from x121.logs.output import LogOutput
from x121.logs.writer import LineWriter

__all__ = [
    "CONNECTION_ID",
    "FIELDS",
    "REQUEST_ID",
    "Format",
    "LogLevels",
    "LogObserver",
    "bridge_standard_logging",
    "choose_format",
    "event_ids",
    "event_message",
    "format_console",
    "format_json",
    "format_terminal",
    "last_line",
    "log_event",
    "make_observer",
]

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being handled.  Coroutines keep it across ``await``."""

CONNECTION_ID: ContextVar[str | None] = ContextVar("connection_id", default=None)
"""The id of the WebSocket connection whose message is being handled, kept in the same way."""

_LEVELS = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}
_PART = re.compile(r"[A-Za-z0-9_.-]+")
# Twisted's own loggers report every connection and port that opens or closes; its older modules use
# log_legacy.  A level for such a part in LOG_LEVEL overrides this.
_QUIET_PARTS = {"twisted": LogLevel.warn, "log_legacy": LogLevel.warn}


@dataclass(frozen=True)
class LogLevels:
    """The minimum levels that are logged, by default and for single parts.

    A part is a logger's namespace and all below it: ``x121.db`` includes ``x121.db.pool``.
    """

    default: Any
    parts: Mapping[str, Any]
    text: str

    @classmethod
    def parse(cls, text: str) -> LogLevels:
        """Return the levels in ``text``, such as ``info,x121.ws=debug``.

        Raises :class:`ValueError`; its message says what is allowed.
        """
        default = LogLevel.info
        parts = {}
        for index, item in enumerate(text.split(",")):
            part, named, level = item.strip().rpartition("=")
            fits = _PART.fullmatch(part) if named else index == 0
            if level.lower() not in _LEVELS or not fits:
                raise ValueError(
                    "debug, info, warn or error, and after it levels of single parts,"
                    f" such as info,x121.ws=debug; {item.strip()[:100]!r} is neither"
                )
            if named:
                parts[part] = _LEVELS[level.lower()]
            else:
                default = _LEVELS[level.lower()]
        return cls(default, {**_QUIET_PARTS, **parts}, text)

    def __str__(self) -> str:
        return self.text

    def least_for(self, namespace: str) -> Any:
        """Return the minimum level that is logged for ``namespace``."""
        part = namespace
        while part:
            if part in self.parts:
                return self.parts[part]
            part = part.rpartition(".")[0]
        return self.default


# --- formats ------------------------------------------------------------------------------

_MAX_TEXT = 8192
_MAX_TRACEBACK = 65_536
# Keys that every event has, keys that Twisted's legacy logging adds, which repeat others, and keys
# of the log line itself.
_RESERVED_KEYS = frozenset(
    [
        "log_format",
        "log_level",
        "log_logger",
        "log_namespace",
        "log_source",
        "log_time",
        "time",
        "isError",
        "why",
        "failure",
        "message",
        "system",
        "format",
        "timestamp",
        "level",
        "logger",
        "connection_id",
        "request_id",
        "traceback",
    ]
)
_PLAIN_TYPES = frozenset((str, int, float, bool, type(None)))


def _timestamp(event: LogEvent) -> str:
    # Thousandths have no exact float: add a little, because int() rounds down.
    second, milliseconds = divmod(int(event["log_time"] * 1000 + 0.001), 1000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=2)  # lines come in the order of their times, or nearly so
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


FIELDS = "fields"
"""The key of the fields in an event that has only fields; see :func:`log_event`."""


def event_message(event: LogEvent) -> str:
    """Return the message of ``event``, shortened to about 8,000 characters."""
    if FIELDS in event:
        return ""
    text = formatEvent(event)
    if not text and "log_failure" in event:
        text = event["log_failure"].getErrorMessage()
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... ({len(text)} characters)"


def _traceback(event: LogEvent) -> str | None:
    failure = event.get("log_failure")
    return None if failure is None else failure.getTraceback()[-_MAX_TRACEBACK:]


def _fields(event: LogEvent) -> dict[str, Any]:
    """Return the logger's arguments: only plain values, so that no secret's repr is logged."""
    fields = {}
    for key, value in event.get(FIELDS, event).items():
        if key in _RESERVED_KEYS or key[:4] == "log_" or type(value) not in _PLAIN_TYPES:
            continue
        fields[key] = _short(value) if type(value) is str and len(value) > _MAX_TEXT else value
    return fields


def event_ids(event: LogEvent) -> dict[str, str]:
    """Return the ids of the event's request and connection: its own, or those being handled."""
    ids = {}
    fields = event.get(FIELDS, event)
    if request_id := fields.get("request_id") or REQUEST_ID.get():
        ids["request_id"] = request_id
    if connection_id := fields.get("connection_id") or CONNECTION_ID.get():
        ids["connection_id"] = connection_id
    return ids


def format_json(event: LogEvent) -> bytes:
    """Return ``event`` as one JSON object on one line."""
    fields = event.get(FIELDS)
    if fields is not None:  # most lines are the access log's
        second, milliseconds = divmod(int(event["log_time"] * 1000 + 0.001), 1000)
        start, names = _around_milliseconds(second, event["log_level"].name, event["log_namespace"])
        encoded = json_encoding.encode(fields)
        if not encoded.isascii():  # JSON escapes those in ASCII, except DEL, which terminals ignore
            encoded = _escape(encoded)
        return b"%b%03d%b%b\n" % (start, milliseconds, names, encoded[1:])
    line = {
        "timestamp": _timestamp(event),
        "level": event["log_level"].name,
        "logger": event.get("log_namespace", "-"),
    }
    if message := event_message(event):
        line["message"] = message
    line.update(_fields(event))
    line.update(event_ids(event))
    if traceback := _traceback(event):
        line["traceback"] = traceback
    return _escape(json_encoding.encode(line)) + b"\n"


@lru_cache(maxsize=8)
def _around_milliseconds(second: int, level: str, namespace: str) -> tuple[bytes, bytes]:
    """Return the beginning of a line up to its first field, without the milliseconds."""
    names = json_encoding.encode({"level": level, "logger": namespace})
    return b'{"timestamp":"%b.' % _second(second).encode(), b'Z",%b,' % names[1:-1]


# Characters that end a line, control a terminal, or change the reading direction.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _escape(encoded: bytes) -> bytes:
    """Return JSON with its control characters escaped, so that it is safe to show on a terminal."""
    text = encoded.decode("utf-8")
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8")


def _one_line(text: str) -> str:
    """Return ``text`` with control characters escaped, so that it is safe and on one line."""
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


Paint = Callable[[str, str], str]
"""Converts a colour and a text to the text shown; colours are parameters of ECMA-48's SGR."""

_DIM = "2"
_LEVEL_COLOURS = {
    "debug": _DIM,
    "info": "32",  # green
    "warn": "33",  # yellow
    "error": "1;31",  # red and bold
    "critical": "1;31",
}
_STATUS_COLOURS = {1: "32", 2: "32", 3: "36", 4: "33", 5: "1;31"}  # by class; 36 is cyan
_REQUEST_KEYS = frozenset(["method", "path", "status", "duration_ms", "bytes", "remote"])


def _plain(_: str, text: str) -> str:
    return text


def _coloured(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def format_console(event: LogEvent, paint: Paint = _plain) -> bytes:
    """Return ``event`` as a line for a console, followed by its traceback, if any."""
    level = event["log_level"].name
    # Each text is escaped before it is coloured, so that it can't control the terminal.
    head = [
        paint(_DIM, _timestamp(event)),
        paint(_LEVEL_COLOURS[level], f"{level:5}"),
        paint(_DIM, _one_line(f"{event.get('log_namespace', '-')}:")),
        _said(event, paint),
        *(paint(_DIM, _one_line(f"[{value}]")) for value in event_ids(event).values()),
    ]
    lines = [" ".join(head), *map(_one_line, (_traceback(event) or "").splitlines())]
    return ("\n    ".join(lines) + "\n").encode("utf-8", "backslashreplace")


def format_terminal(event: LogEvent) -> bytes:
    """Return ``event`` like :func:`format_console`, in colours."""
    return format_console(event, _coloured)


def _said(event: LogEvent, paint: Paint) -> str:
    """Return the message, or the fields of an event that has none."""
    if message := event_message(event):
        return _one_line(message)
    fields = _fields(event)
    if FIELDS in event and fields.keys() >= _REQUEST_KEYS:
        return _request(fields, paint)
    return _one_line(" ".join(f"{key}={value}" for key, value in fields.items()))


def _request(fields: Mapping[str, Any], paint: Paint) -> str:
    """Return the fields of the access log as ``GET /health 200 0.4 ms 15 B to 127.0.0.1``."""
    status = fields["status"]
    asked = _one_line(f"{fields['method']} {fields['path']}")
    sent = _one_line(f"{fields['duration_ms']:.1f} ms {fields['bytes']} B to {fields['remote']}")
    return f"{asked} {paint(_STATUS_COLOURS.get(status // 100, _DIM), str(status))} {sent}"


def log_event(logger: Logger, level: Any, time: float, fields: Mapping[str, Any]) -> None:
    """Log an event without a message, which has only ``fields`` with plain values.

    Like :meth:`Logger.emit`, in a fifth of the time, for events of every request.  ``time`` is in
    seconds since the epoch.
    """
    event = {
        "log_logger": logger,
        "log_level": level,
        "log_namespace": logger.namespace,
        "log_source": None,
        "log_format": "",
        "log_time": time,
        FIELDS: fields,
    }
    logger.observer(event)


Format = Callable[[LogEvent], bytes]
"""Converts an event to UTF-8 text, which ends with a line feed."""


def choose_format(name: str, descriptor: int, *, colour: bool) -> Format:
    """Return the format ``json`` or ``console``, or for ``auto`` the one for this output.

    On a terminal ``console`` is coloured, unless ``colour`` is false.
    """
    is_terminal = os.isatty(descriptor)
    if name == "json" or (name == "auto" and not is_terminal):
        return format_json
    return format_terminal if colour and is_terminal else format_console


def last_line(message: str, name: str) -> str:
    """Return ``message`` in the log's format, for a process that exits before it has a log."""
    if name != "json":
        return message
    return format_json(_event(LogLevel.error, "x121", message)).decode().rstrip()


def _event(level: Any, namespace: str, text: str) -> LogEvent:
    """Return an event about the log itself, which has no logger."""
    return {
        "log_time": wall_time(),
        "log_level": level,
        "log_namespace": namespace,
        "log_format": "{log_text}",
        "log_text": text,
    }


# --- observing -----------------------------------------------------------------------------


@implementer(ILogObserver)
class LogObserver:
    """Filters events by ``levels``, formats them and passes their lines to ``writer``."""

    def __init__(self, levels: LogLevels, to_line: Format, writer: LineWriter) -> None:
        self._levels = levels
        self._to_line = to_line
        self._writer = writer
        self._is_logged: dict[tuple[str, Any], bool] = {}

    def __call__(self, event: LogEvent) -> None:
        kind = event.get("log_namespace") or "-", event["log_level"]
        is_logged = self._is_logged.get(kind)
        if is_logged is None:  # a cached result takes less time than comparing levels
            namespace, level = kind
            is_logged = self._is_logged[kind] = level >= self._levels.least_for(namespace)
        if is_logged:
            self._writer.write(self._to_line(event))

    def flush(self) -> None:
        """Write all waiting lines."""
        self._writer.flush()

    def reopen(self) -> None:
        """Reopen the log file, which may have been renamed.  Raises :class:`OSError`."""
        self._writer.reopen()


def make_observer(
    levels: LogLevels, format_name: str, output: LogOutput, reactor: Any, *, colour: bool
) -> LogObserver:
    """Return an observer that writes to ``output`` in the format of :func:`choose_format`."""
    to_line = choose_format(format_name, output.descriptor, colour=colour)
    writer = LineWriter(output, reactor, partial(_describe_loss, to_line))
    return LogObserver(levels, to_line, writer)


def _describe_loss(to_line: Format, count: int, reason: str) -> bytes:
    lines = "1 log line was" if count == 1 else f"{count} log lines were"
    text = f"{lines} lost: {reason}"
    return to_line(_event(LogLevel.warn, "x121.log", text) | {"lost": count, "reason": reason})


# --- Python's own logging -----------------------------------------------------------------


class _Bridge(logging.Handler):
    """Passes records of Python's ``logging`` to ``twisted.logger``, under their logger's name."""

    def emit(self, record: logging.LogRecord) -> None:
        name = "warn" if record.levelname == "WARNING" else record.levelname.lower()
        level = _LEVELS.get(name, LogLevel.critical if record.levelno >= 50 else LogLevel.info)
        failure = {}
        if record.exc_info and record.exc_info[0] is not None:
            kind, value, traceback = record.exc_info
            failure = {"log_failure": Failure(value, kind, traceback)}
        try:
            text = record.getMessage()
        except Exception:
            text = f"{record.msg!r} with arguments that don't fit it"
        Logger(namespace=record.name).emit(level, "{log_text}", log_text=text, **failure)


def bridge_standard_logging() -> None:
    """Send records of Python's ``logging`` to this log, from info level up."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.INFO)
