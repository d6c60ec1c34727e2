"""Registry of all WebSocket connections, and the methods that send events to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from x121.core.event_encoding import encode_event
from x121.core.types import DbId
from x121.ws.connection import WsConnection
from x121.ws.frames import make_frame
from x121.ws.heartbeat import Heartbeat
from x121.ws.threads import check_thread

__all__ = ["WsManager"]

_log = Logger(namespace="x121.ws.manager")

T = TypeVar("T")
D = TypeVar("D", contravariant=True)

# Thousands of clients that are closed at one instant reconnect to the next server at one instant.
_LEAVING_PER_SEC = 1000
_LEAVING_TICK_SECS = 0.05


class Publishable(Protocol[D]):
    """An event as a feature declares it: an optional topic, and an encoder for its data."""

    topic: Any

    def topic_of(self, **parameters: object) -> str: ...
    def encode(self, data: D, /) -> bytes: ...


class WsManager:
    """Keeps every connection, by its id and by its user.

    Belongs to the reactor's thread: in any other its methods raise
    :class:`~x121.ws.threads.WrongThread`.  Every connection that it keeps is pinged.

    ``draining`` becomes True when the server shuts down: then new connections are rejected.
    From then on, ``closed`` and ``dropped`` count how connections ended.
    """

    def __init__(
        self, heartbeat: Heartbeat, *, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        self.clock = clock
        self.now = now
        self.draining = False
        self.closed = 0
        self.dropped = 0
        self._heartbeat = heartbeat
        self._connections: dict[str, WsConnection] = {}
        self._by_user: dict[DbId, dict[str, WsConnection]] = {}
        self._by_topic: dict[str, dict[str, WsConnection]] = {}
        self._waiting: list[Deferred[None]] = []

    # --- connections ---

    def add(self, connection: WsConnection) -> None:
        """Add a connection.  Raises :class:`ValueError` if its id exists already."""
        check_thread("WsManager")
        if connection.id in self._connections:
            raise ValueError(f"a connection with the id {connection.id} exists already")
        if connection.user_id is not None:
            self._by_user.setdefault(connection.user_id, {})[connection.id] = connection
        self._connections[connection.id] = connection
        self._heartbeat.watch(connection.link)

    def remove(self, connection_id: str) -> WsConnection | None:
        """Remove a connection, and return it; return None for an unknown id."""
        check_thread("WsManager")
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return None
        self._heartbeat.forget(connection.link)
        if connection.user_id is not None:
            theirs = self._by_user[connection.user_id]
            del theirs[connection_id]
            if not theirs:
                del self._by_user[connection.user_id]
        for topic in connection.topics:
            self.unsubscribe(connection, topic)
        if self.draining:
            self._count(connection)
        return connection

    def get_by_user(self, user_id: DbId) -> list[WsConnection]:
        """Return the connections of one user, oldest first, in time linear in their number."""
        check_thread("WsManager")
        return list(self._by_user.get(user_id, {}).values())

    def connection_count(self) -> int:
        """Return the number of connections."""
        check_thread("WsManager")
        return len(self._connections)

    def connections(self) -> list[WsConnection]:
        """Return every connection, oldest first."""
        check_thread("WsManager")
        return list(self._connections.values())

    # --- subscriptions ---

    def subscribe(self, connection: WsConnection, topic: str) -> None:
        """Subscribe ``connection`` to ``topic`` until it closes.

        Do nothing if it is subscribed already, or closed.
        """
        check_thread("WsManager")
        if connection.id in self._connections:
            self._by_topic.setdefault(topic, {})[connection.id] = connection
            connection.topics |= {topic}

    def unsubscribe(self, connection: WsConnection, topic: str) -> None:
        """Undo :meth:`subscribe`; do nothing if ``connection`` isn't subscribed."""
        check_thread("WsManager")
        connection.topics -= {topic}
        subscribed = self._by_topic.get(topic, {})
        if subscribed.pop(connection.id, None) is not None and not subscribed:
            del self._by_topic[topic]

    # --- events ---

    def send_to_user(self, user_id: DbId, name: str, data: Any = None) -> int:
        """Send the event ``name`` to every connection of one user; see :meth:`broadcast`."""
        return self._send(self.get_by_user(user_id), encode_event(name, data))

    def broadcast(self, name: str, data: Any = None) -> int:
        """Send the event ``name`` to every connection, without waiting for any.

        Returns the number of connections that accepted it.  A connection that fails or is too
        slow doesn't affect the others.  The event is encoded once.  Raises :class:`TypeError` for
        data that can't be encoded as JSON.
        """
        return self._send(self.connections(), encode_event(name, data))

    def publish(self, topic: str, name: str, data: Any = None) -> int:
        """Send the event ``name`` to the subscribers of ``topic``; see :meth:`broadcast`.

        Without subscribers the event isn't encoded.
        """
        subscribed = self._subscribed(topic)
        return self._send(subscribed, encode_event(name, data)) if subscribed else 0

    def publish_event(self, event: Publishable[T], data: T, **parameters: object) -> int:
        """Send an event that a feature declared to the subscribers of its topic.

        ``parameters`` are those of the topic.  An event without a topic goes to every connection.
        Returns the number of connections that accepted it.  Raises what ``event.topic_of`` raises
        and, if there are subscribers, :class:`~x121.errors.InternalError` for data that isn't of
        the event's type.
        """
        if event.topic is not None:
            listening = self._subscribed(event.topic_of(**parameters))
        else:
            listening = self.connections()
        return self._send(listening, event.encode(data)) if listening else 0

    def _subscribed(self, topic: str) -> list[WsConnection]:
        check_thread("WsManager")
        return list(self._by_topic.get(topic, {}).values())

    def _send(self, connections: list[WsConnection], event: bytes) -> int:
        frame = make_frame(event)
        taken = 0
        for connection in connections:
            try:
                if connection.takes_events:
                    taken += connection.link.send_frame(frame)
            except Exception:
                _log.failure(
                    "Could not send an event to the WebSocket {connection_id}",
                    connection_id=connection.id,
                )
                connection.abort()
        return taken

    # --- shutdown ---

    async def shutdown_all(self, within_secs: float = math.inf) -> None:
        """Reject new connections, close all others with 1001, and return when all are closed.

        The close frames are spread over time, at most a third of ``within_secs``.  A client gets
        the replies that it waits for before its close frame.
        """
        check_thread("WsManager")
        self.draining = True
        leaving = self.connections()
        _log.info("Closing {count} WebSocket connections", count=len(leaving))
        for batch in _batches(leaving, within_secs / 3):
            for connection in batch:
                connection.link.close_after_replies()
            await deferLater(self.clock, _LEAVING_TICK_SECS)
        await self._until_empty()

    async def close(self) -> None:
        """Send 1001 to the connections that still wait for replies; return when all are closed."""
        check_thread("WsManager")
        for connection in self.connections():
            connection.link.end(1001, "The server is shutting down")
        await self._until_empty()

    def drop(self) -> None:
        """Drop every remaining connection."""
        check_thread("WsManager")
        for connection in self.connections():
            connection.abort()
            self.remove(connection.id)

    def _count(self, connection: WsConnection) -> None:
        if connection.dropped:
            self.dropped += 1
        else:
            self.closed += 1
        if not self._connections:
            waiting, self._waiting = self._waiting, []
            for empty in waiting:  # in the next turn: the last connection has yet to log its close
                self.clock.callLater(0, empty.callback, None)

    def _until_empty(self) -> Deferred[None]:
        empty: Deferred[None] = Deferred()
        if self._connections:
            self._waiting.append(empty)
        else:
            empty.callback(None)
        return empty


def _batches(connections: list[WsConnection], within_secs: float) -> list[list[WsConnection]]:
    """Return ``connections`` in batches, one per tick, as small as the time allows."""
    ticks = max(1.0, within_secs / _LEAVING_TICK_SECS)
    size = max(_LEAVING_PER_SEC * _LEAVING_TICK_SECS, len(connections) / ticks)
    step = math.ceil(size)
    return [connections[start : start + step] for start in range(0, len(connections), step)]
