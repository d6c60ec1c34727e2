"""The log: levels, formats and context of its lines, and the writer."""

from __future__ import annotations

from x121.logs.observer import (
    CONNECTION_ID,
    FIELDS,
    REQUEST_ID,
    Format,
    LogLevels,
    LogObserver,
    bridge_standard_logging,
    choose_format,
    event_ids,
    event_message,
    format_console,
    format_json,
    format_terminal,
    last_line,
    log_event,
    make_observer,
)

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
