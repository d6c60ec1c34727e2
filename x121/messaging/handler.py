"""Message handler, with the types of its data and its reply, read from its signature.

The data of a message is checked against the declared type, and so is the handler's result::

    async def say(self, message: Message[Said]) -> Heard: ...

Without a declared type, or with :data:`~typing.Any`, they are not checked.
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
    """A message as its handler gets it, and the ``connection`` that sent it.

    ``data`` is a ``D`` if the handler declares ``Message[D]``, else the JSON value as it was sent.
    """

    type: str
    id: Any
    data: D
    connection: WsConnection


@dataclass(frozen=True, slots=True)
class Handler:
    """Handler of the messages of one type.

    ``call`` returns the reply's data, or an awaitable of it; if it raises, the client gets an
    error.  ``data_type`` and ``reply_type`` are the types of the message's and the reply's data,
    None for any.  ``reply`` encodes the reply to the message with an id, and raises
    :class:`~x121.errors.InternalError` for data that isn't of ``reply_type``.  ``doc`` is its
    docstring.
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
    """Return a handler for ``function``, which may be a method.

    Raises :class:`TypeError`, which names the function, for an unsupported signature.
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
    """Return the type of the message's data that the function declares."""
    parameters = parameters_of(function)
    if not parameters:
        raise signature_error(function, "it has no parameter for the message")
    hint = hints.get(parameters[0].name, Any)
    if hint is Message or hint in _ANYTHING:
        return Any
    if get_origin(hint) is not Message:
        raise signature_error(
            function, f"its parameter is {hint!r} (expected Message, or Message[...] of a type)"
        )
    return get_args(hint)[0]


def _result(hints: dict[str, Any]) -> Any:
    """Return the type of the reply's data: the declared result, without its awaitable."""
    hint = unwrap(hints.get("return", Any))
    return Any if hint in AWAITABLES else hint
