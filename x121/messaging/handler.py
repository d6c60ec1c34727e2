"""One handler: what it answers, what it takes and reply_type, as its signature says.

A message's data is checked where the handler says what it has to be, and so is what it returns::

    async def say(self, message: Message[Said]) -> Heard: ...

Where it says nothing, or :data:`~typing.Any`, both are what they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Never, NoReturn, get_args, get_origin

from typing_extensions import TypeVar

from x121.core.coroutines import unawaited
from x121.core.signatures import (
    AWAITABLES,
    parameters_of,
    qualified_name,
    signature_error,
    type_hints,
    unwrap,
)
from x121.errors import InternalError
from x121.messaging.codec import encode_reply, wrap_reply
from x121.messaging.types import DataType
from x121.ws.connection import WsConnection

__all__ = ["Handler", "Message", "make_handler"]

D = TypeVar("D", default=Any)

_ANYTHING = (Any, object, Never, NoReturn)


@dataclass(frozen=True, slots=True)
class Message(Generic[D]):
    """A message as its handler gets it, and ``connection``, which it came on.

    ``data`` is what came, or a ``D`` where the handler takes a ``Message[D]``.
    """

    type: str
    id: Any
    data: D
    connection: WsConnection


@dataclass(frozen=True, slots=True)
class Handler:
    """What answers the messages of one type.

    ``call`` returns the reply's data, or an awaitable of it; what it raises is answered as an
    error.  ``data_type`` and ``reply_type`` are the types of the data and of the reply's, None
    where those may be anything.  ``reply`` encodes the reply to the message with an id, and raises
    :class:`~x121.errors.InternalError` for data that isn't what ``reply_type`` says.  ``doc`` is
    what its author says of it.
    """

    type: str
    call: Callable[[Message], Any]
    data_type: DataType[Any] | None
    reply_type: DataType[Any] | None
    reply: Callable[[Any, Any], bytes]
    doc: str

    def on(self, instance: object) -> Handler:
        """Return the handler as a method of ``instance``."""
        return replace(self, call=self.call.__get__(instance))


def make_handler(message_type: str, function: Callable[..., Any]) -> Handler:
    """Return the handler that ``function`` is, a method or not.

    Raises :class:`TypeError`, which names the function, for a signature that can't be understood.
    """
    hints = type_hints(function)
    name = qualified_name(function)
    what = f"What {name} returned"
    data_type = _checked(_data(function, hints), f"The data of a message to {name}")
    reply_type = _checked(_result(hints), what)
    reply = partial(_reply_anything, what) if reply_type is None else partial(_reply, reply_type)
    return Handler(
        message_type, function, data_type, reply_type, reply, inspect.getdoc(function) or ""
    )


def _checked(kind: Any, what: str) -> DataType[Any] | None:
    return None if kind in _ANYTHING else DataType(kind, what)


def _reply(reply_type: DataType[Any], message_id: Any, data: Any) -> bytes:
    return wrap_reply(message_id, reply_type.write(data))


def _reply_anything(what: str, message_id: Any, data: Any) -> bytes:
    try:
        return encode_reply(message_id, data)
    except TypeError:
        mistake = unawaited(data)
        if not mistake:
            raise
    raise InternalError(f"{what} is {mistake}")


def _data(function: Callable[..., Any], hints: dict[str, Any]) -> Any:
    """Return the type of the data that the function data_type."""
    given = parameters_of(function)
    if not given:
        raise signature_error(function, "it has to take a message")
    hint = hints.get(given[0].name, Any)
    if hint is Message or hint in _ANYTHING:
        return Any
    if get_origin(hint) is not Message:
        raise signature_error(
            function, f"it takes a Message, or a Message[...] of a type, not {hint!r}"
        )
    return get_args(hint)[0]


def _result(hints: dict[str, Any]) -> Any:
    """Return the type of what is sent in the end, of what a function says that it returns."""
    hint = unwrap(hints.get("return", Any))
    return Any if hint in AWAITABLES else hint
