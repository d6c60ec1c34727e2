"""Messages and events as features have them.

A feature's handlers are methods, registered by the type of message that they answer, and its events
stand beside them::

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

What a handler's signature may say, :mod:`x121.messaging.handler` tells; how messages look on the
wire, :mod:`x121.messaging.codec`; and who gets an event,
:meth:`x121.ws.manager.WsManager.publish_event`.
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
    """The handlers of one feature, by the type of message that they answer, and its events.

    Stands in the feature's class; of an instance, it gives that instance's methods.
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
        """Return a decorator for the method that answers messages of ``message_type``.

        Raises :class:`ValueError` if there is one already; the decorator raises
        :class:`TypeError` for a method whose types can't be understood.
        """
        if message_type in self._handlers:
            raise ValueError(f"there already is a handler for {message_type!r}")

        def register(function: F) -> F:
            self._handlers[message_type] = make_handler(message_type, function)
            return function

        return register

    def topic(self, declared: str, *, public: bool = False) -> Topic:
        """Declare a topic, which clients may subscribe to: everybody if it is ``public``.

        Another one needs a rule, a method decorated with :meth:`~x121.messaging.topics.Topic.rule`.
         A topic may have parameters, as in ``projects/{project_id}``.  Raises what
        :class:`~x121.messaging.topics.Topic` raises.
        """
        topic = Topic(declared, public=public)
        self._topics.append(topic)
        return topic

    def event(
        self, name: str, data: type[T], *, topic: Topic | None = None, description: str = ""
    ) -> Event[T]:
        """Declare an event, whose data is a ``data``, for those who subscribe to ``topic``.

        Without a topic it is for everybody.  Raises :class:`ValueError` for a name that is taken,
        and what :class:`~x121.messaging.events.Event` raises.
        """
        if name in self._events:
            raise ValueError(f"there already is an event {name!r}")
        event: Event[T] = Event(name, data, topic=topic, description=description)
        self._events[name] = event
        return event

    @property
    def events(self) -> list[Event[Any]]:
        """The events that are declared."""
        return list(self._events.values())

    @property
    def topics(self) -> list[tuple[Topic, Rule]]:
        """The topics that are declared, each with its rule.

        Raises :class:`ValueError` for one with no rule.
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
        """Give every handler.

        Raises :class:`TypeError` for those of a class, whose methods have no instance.
        """
        if self._owner and self._instance is None:
            raise TypeError(f"these are handlers of a class: nest those of {self._owner}(state)")
        for handler in self._handlers.values():
            yield handler if self._instance is None else handler.on(self._instance)
