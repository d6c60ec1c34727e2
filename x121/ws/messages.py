"""Messages as features handle them.

A feature's handlers are methods, registered by the type of message that they answer::

    class Chat:
        messages = Handlers()

        def __init__(self, state: AppState) -> None:
            self._state = state

        @messages.on("chat.say")
        async def say(self, message: Message) -> dict[str, Any]: ...

How messages look on the wire, :mod:`x121.ws.wire` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from x121.ws.connection import WsConnection

__all__ = ["Handler", "Handlers", "Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its handler gets it, and ``connection``, which it came on."""

    type: str
    id: Any
    data: Any
    connection: WsConnection


Handler = Callable[[Message], Any]
"""Returns the reply's data, or an awaitable of it.  What it raises is answered as an error."""

F = TypeVar("F", bound=Callable[..., Any])


class Handlers:
    """The handlers of one feature, by the type of message that they answer.

    Stands in the feature's class; of an instance, it gives that instance's methods.
    """

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._instance: object | None = None
        self._owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner.__name__

    def on(self, message_type: str) -> Callable[[F], F]:
        """Return a decorator for the method that answers messages of ``message_type``.

        Raises :class:`ValueError` if there is one already.
        """
        if message_type in self._functions:
            raise ValueError(f"there already is a handler for {message_type!r}")

        def register(function: F) -> F:
            self._functions[message_type] = function
            return function

        return register

    def __get__(self, instance: object | None, owner: object) -> Handlers:
        """Return the handlers as methods of ``instance``."""
        bound = Handlers()
        bound._functions = self._functions
        bound._instance = instance
        return self if instance is None else bound

    def __iter__(self) -> Iterator[tuple[str, Handler]]:
        """Give every type and its handler.

        Raises :class:`TypeError` for those of a class, whose methods have no instance.
        """
        if self._owner and self._instance is None:
            raise TypeError(f"these are handlers of a class: nest those of {self._owner}(state)")
        for message_type, function in self._functions.items():
            instance = self._instance
            yield message_type, function if instance is None else function.__get__(instance)
