"""Events as features declare them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from x121.core.event_encoding import check_event_name, wrap_event
from x121.messaging.topics import Topic
from x121.messaging.types import DataType

__all__ = ["Event"]

T = TypeVar("T")


class Event(Generic[T]):
    """An event that the server sends to clients: ``name``, and data of one type.

    It goes to the subscribers of ``topic``, or to every client without one.  Raises
    :class:`TypeError` for a type that can't be checked, and :class:`ValueError` for an invalid
    name.
    """

    def __init__(
        self, name: str, data: Any, *, topic: Topic | None = None, description: str = ""
    ) -> None:
        check_event_name(name)
        self.name = name
        self.topic = topic
        self.description = description
        self.data_type: DataType[T] = DataType(data, f"The data of the event {name}")

    def topic_of(self, **parameters: object) -> str:
        """Return the event's topic, with its parameters filled in.

        Raises :class:`TypeError` for missing or unknown parameters, and :class:`ValueError` for
        values that make the topic invalid.
        """
        if self.topic is None:
            raise TypeError(f"the event {self.name} has no topic: pass topic= where it is declared")
        return self.topic.fill(parameters)

    def encode(self, data: T) -> bytes:
        """Return the event in JSON, as it is sent.

        Raises :class:`~x121.errors.InternalError` for data that isn't of the event's type.
        """
        return wrap_event(self.name, self.data_type.write(data))
