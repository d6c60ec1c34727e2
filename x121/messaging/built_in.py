"""Built-in messages and events, which every application has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from pydantic import Field

from x121.core.models import Model
from x121.errors import Conflict, NotFound
from x121.messaging.handlers import Handlers, Message
from x121.messaging.topics import MAX_TOPIC_LENGTH, Topics
from x121.ws.connection import WsConnection
from x121.ws.manager import WsManager

__all__ = ["BuiltIn"]

_MAX_TOPICS = 100


class Welcome(Model):
    """The data of the first event on a connection."""

    connection_id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    """The connection's id, as in the server's log."""


class Subscription(Model):
    """A topic whose events a client receives."""

    topic: Annotated[str, Field(min_length=1, max_length=MAX_TOPIC_LENGTH, examples=["projects/7"])]
    """A topic of the events below."""


class BuiltIn:
    """The messages ``ping``, ``subscribe`` and ``unsubscribe``, and the event ``welcome``.

    ``topics`` has those of all features, with their rules.
    """

    messages = Handlers()
    welcome = messages.event("welcome", Welcome, description="The first event on a connection.")

    def __init__(self, manager: WsManager, topics: Topics) -> None:
        self._manager = manager
        self._topics = topics

    @messages.on("ping")
    def ping(self, message: Message) -> Literal["pong"]:
        """Check that the server responds."""
        return "pong"

    @messages.on("subscribe")
    async def subscribe(self, message: Message[Subscription]) -> Subscription:
        """Receive the events of a topic until the connection closes.

        Subscribing twice is allowed.  After an error, you are not subscribed.
        """
        connection, topic = message.connection, message.data.topic
        rule = self._rule_of(topic)
        if topic not in connection.topics and len(connection.topics) >= _MAX_TOPICS:
            raise Conflict(f"A connection can subscribe to at most {_MAX_TOPICS} topics")
        try:
            asked = rule(connection)
            if isinstance(asked, Awaitable):
                await asked
        except BaseException:
            self._manager.unsubscribe(connection, topic)
            raise
        self._manager.subscribe(connection, topic)
        return message.data

    @messages.on("unsubscribe")
    def unsubscribe(self, message: Message[Subscription]) -> Subscription:
        """Stop receiving the events of a topic.  Unsubscribing twice is allowed."""
        self._rule_of(message.data.topic)
        self._manager.unsubscribe(message.connection, message.data.topic)
        return message.data

    def _rule_of(self, topic: str) -> Callable[[WsConnection], object]:
        rule = self._topics.find(topic)
        if rule is None:
            raise NotFound(f"Unknown topic {topic[:100]!r}")
        return rule
