"""What is said on ``/ws``: JSON objects in text messages, one of these.

From the client::

    {"type": NAME, "id": anything, "data": anything}        id and data may be left out

To the client, one for every message that came, in their order::

    {"type": "reply", "id": ..., "data": ...}               what the handler returned
    {"type": "error", "id": ..., "error": TEXT, "code": CODE, "details": [...]}

and unasked::

    {"type": EVENT, "data": ...}                            the first is "welcome"

``id`` is the message's own, or null where it had none or could not be read; ``error``, ``code`` and
``details`` are those of an HTTP error (:mod:`x121.errors`).

A feature's handlers are methods, registered by the type of message that they answer::

    class Chat:
        messages = Handlers()

        def __init__(self, state: AppState) -> None:
            self._state = state

        @messages.on("chat.say")
        async def say(self, message: Message) -> dict[str, Any]: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from x121 import jsons
from x121.errors import AppError, BadRequest

if TYPE_CHECKING:
    from x121.ws.connection import WsConnection

__all__ = [
    "Handler",
    "Handlers",
    "Message",
    "decode",
    "encode_error",
    "encode_event",
    "encode_reply",
]


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its handler gets it, and ``connection``, which it came on."""

    type: str
    id: Any
    data: Any
    connection: WsConnection


# --- the wire -----------------------------------------------------------------------------


def decode(payload: bytes) -> dict[str, Any]:
    """Return the JSON object that ``payload`` is, which is UTF-8.

    Raises :class:`BadRequest` for anything else, and for what JSON lacks, such as NaN.
    """
    try:
        value = _DECODER.decode(payload.decode())
    except RecursionError:
        raise BadRequest("The message is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"The message is not JSON: {_short(str(error))}") from None
    if not isinstance(value, dict):
        raise BadRequest("The message is not a JSON object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a value of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def encode_reply(message_id: Any, data: Any) -> bytes:
    """Return a reply.  Raises what :func:`x121.jsons.encode` raises."""
    return jsons.encode({"type": "reply", "id": message_id, "data": data})


def encode_error(message_id: Any, error: AppError) -> bytes:
    """Return an error in the contract's form."""
    return jsons.encode({"type": "error", "id": message_id, **error.body()})


def encode_event(name: str, data: Any) -> bytes:
    """Return an event.  Raises what :func:`x121.jsons.encode` raises."""
    return jsons.encode({"type": name, "data": data})


# --- handlers -----------------------------------------------------------------------------

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
        """Give every type and its handler."""
        for message_type, function in self._functions.items():
            instance = self._instance
            yield message_type, function if instance is None else function.__get__(instance)
