"""Feed of the console: a WebSocket endpoint that sends the measurements to every open page.

A message is one JSON object.  The first has the constant data; all others have the same form.
``samples`` are those that the page doesn't have yet, at first all that are kept.  ``errors`` are
the last errors, if there are new ones.  ``websockets`` are the current connections.  A page that
doesn't read its messages gets no more until it does, and then all samples that it missed and that
are still kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any

from x121.application import AppState
from x121.builtin.console.recorder import ErrorLine, Recorder
from x121.core import json_encoding
from x121.ws.connection import WsConnection

__all__ = ["MAX_TOPICS", "MAX_WEBSOCKETS", "Feed"]

MAX_WEBSOCKETS = 200
"""The maximum number of connections in a message; those with the most waiting bytes come first."""

MAX_TOPICS = 10
"""The maximum number of topics of a connection in a message."""

_MAX_CHARACTERS = 100


@dataclass
class _Watcher:
    """An open page, the number of samples that it has, and the last error."""

    connection: WsConnection
    samples: int = 0
    last_error: ErrorLine | None = None


class Feed:
    """Sends measurements to the pages of the console: at once, and then every second."""

    takes_events = False

    def __init__(self, recorder: Recorder, state: AppState) -> None:
        self._recorder = recorder
        self._state = state
        self._watchers: dict[str, _Watcher] = {}
        recorder.on_sample = self._send_to_all

    def opened(self, connection: WsConnection) -> None:
        """Send everything that is kept, and from now on new samples every second."""
        watcher = self._watchers[connection.id] = _Watcher(connection)
        connection.on_close(lambda: self._watchers.pop(connection.id))
        greeting = {
            "connection_id": connection.id,
            "started_at": self._recorder.started_at,
            "pool_max": self._state.pool.stats().max_size,
        }
        connection.send_payload(json_encoding.encode(greeting))
        self._send([watcher])

    def received(self, connection: WsConnection, payload: bytes, is_binary: bool) -> None:
        """Do nothing: pages send no messages."""

    def _send_to_all(self) -> None:
        self._send([w for w in self._watchers.values() if not w.connection.link.waiting_bytes])

    def _send(self, watchers: Collection[_Watcher]) -> None:
        """Send to each of ``watchers`` what it lacks; those that lack the same share a message."""
        if not watchers:
            return
        errors = list(self._recorder.errors)  # a copy: other threads may add to them
        last_error = errors[-1] if errors else None
        make_message = cache(partial(self._message, errors, self._websockets()))
        for watcher in watchers:
            knows_errors = watcher.last_error is last_error
            message = make_message(self._recorder.sampled - watcher.samples, knows_errors)
            watcher.samples, watcher.last_error = self._recorder.sampled, last_error
            watcher.connection.send_payload(message)

    def _message(
        self, errors: list[ErrorLine], websockets: Any, new_samples: int, knows_errors: bool
    ) -> bytes:
        samples = self._recorder.samples
        start = max(0, len(samples) - new_samples)
        message = {"samples": list(islice(samples, start, None)), "websockets": websockets}
        if not knows_errors:
            message["errors"] = errors
        return json_encoding.encode(message)

    def _websockets(self) -> dict[str, Any]:
        connections = self._state.ws_manager.connections()
        shown = connections
        if len(connections) > MAX_WEBSOCKETS:
            shown = heapq.nlargest(MAX_WEBSOCKETS, connections, key=_waiting_bytes)
        return {
            "count": len(connections),
            "shown": [_row(connection, self._watchers) for connection in shown],
        }


def _waiting_bytes(connection: WsConnection) -> int:
    return connection.link.waiting_bytes


def _row(connection: WsConnection, watchers: Collection[str]) -> dict[str, Any]:
    topics = sorted(connection.topics)
    return {
        "id": connection.id,
        "user_id": connection.user_id,
        "since": connection.connected_at.timestamp(),
        "waiting_bytes": _waiting_bytes(connection),
        "topics": [topic[:_MAX_CHARACTERS] for topic in topics[:MAX_TOPICS]],
        "topic_count": len(topics),
        "is_console": connection.id in watchers,
    }
