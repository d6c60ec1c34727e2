"""Message handlers, events and topics of features.

A feature's handlers are methods, registered by message type, and its events are declared beside
them::

    class Chat:
        messages = Handlers()
        room = messages.topic("rooms/{room}")
        said = messages.event("chat.said", Line, topic=room)

        @room.rule
        def may_subscribe(self, connection: WsConnection, room: str) -> None:
            if room != "hall" and connection.user_id is None:
                raise Forbidden("Only the hall is open to strangers")

        def __init__(self, state: AppState) -> None:
            self._ws_manager = state.ws_manager

        @messages.on("chat.say")
        async def say(self, message: Message[Line]) -> Heard:
            count = self._ws_manager.publish_event(self.said, message.data, room="hall")
            return Heard(count=count)

See :mod:`x121.messaging.handler` for handlers' signatures, :mod:`x121.messaging.codec` for the
format of messages, and :meth:`x121.ws.manager.WsManager.publish_event` for the recipients of
events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from x121.messaging.events import Event
from x121.messaging.handler import Handler, Message, make_handler
from x121.messaging.topics import Rule, Topic

__all__ = ["Event", "Handler", "Handlers", "Message"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Handlers:
    """Registry of one feature's message handlers, by message type, and of its events and topics.

    An attribute of the feature's class.  Read from an instance, it has that instance's methods.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._events: dict[str, Event[Any]] = {}
        self._topics: list[Topic] = []
        self._instance: object | None = None
        self._owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner.__name__

    def on(self, message_type: str) -> Callable[[F], F]:
        """Return a decorator for the method that handles messages of ``message_type``.

        Raises :class:`ValueError` if the type has a handler already; the decorator raises
        :class:`TypeError` for a method with an unsupported signature.
        """
        if message_type in self._handlers:
            raise ValueError(f"the message type {message_type!r} has a handler already")

        def register(function: F) -> F:
            self._handlers[message_type] = make_handler(message_type, function)
            return function

        return register

    def topic(self, declared: str, *, public: bool = False) -> Topic:
        """Declare a topic for clients to subscribe to; every client may if it is ``public``.

        Any other topic needs a rule: a method decorated with
        :meth:`~x121.messaging.topics.Topic.rule`.  A topic may have parameters, as in
        ``projects/{project_id}``.  Raises what :class:`~x121.messaging.topics.Topic` raises.
        """
        topic = Topic(declared, public=public)
        self._topics.append(topic)
        return topic

    def event(
        self, name: str, data: type[T], *, topic: Topic | None = None, description: str = ""
    ) -> Event[T]:
        """Declare an event with data of the type ``data``, for the subscribers of ``topic``.

        Without a topic it goes to every client.  Raises :class:`ValueError` for a name that is
        taken, and what :class:`~x121.messaging.events.Event` raises.
        """
        if name in self._events:
            raise ValueError(f"the event {name!r} is declared already")
        event: Event[T] = Event(name, data, topic=topic, description=description)
        self._events[name] = event
        return event

    @property
    def events(self) -> list[Event[Any]]:
        """The declared events."""
        return list(self._events.values())

    @property
    def topics(self) -> list[tuple[Topic, Rule]]:
        """The declared topics, each with its rule.

        Raises :class:`ValueError` for one without a rule.
        """
        return [(topic, topic.rule_on(self._instance)) for topic in self._topics]

    def __get__(self, instance: object | None, owner: object) -> Handlers:
        """Return the handlers as methods of ``instance``."""
        bound = Handlers()
        bound._handlers = self._handlers
        bound._events = self._events
        bound._topics = self._topics
        bound._instance = instance
        return self if instance is None else bound

    def __iter__(self) -> Iterator[Handler]:
        """Yield every handler.

        Raises :class:`TypeError` for those read from the class, which have no instance.
        """
        if self._owner and self._instance is None:
            raise TypeError(
                f"{self._owner}.messages is not bound to an instance: nest"
                f" {self._owner}(state).messages"
            )
        for handler in self._handlers.values():
            yield handler if self._instance is None else handler.on(self._instance)
