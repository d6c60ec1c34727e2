"""AsyncAPI 3.0 document of the messages over WebSockets.

It is generated from the features' declarations, and written from the server's side, as
https://www.asyncapi.com/docs/reference/specification/v3.0.0 specifies: the server *receives*
clients' messages, with a reply to each, and *sends* events.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from x121.builtin.docs.draft_07 import to_draft_07
from x121.builtin.docs.envelopes import (
    ANYTHING,
    CORRELATION,
    ERROR,
    ERROR_EXAMPLE,
    event_schema,
    reply_schema,
    request_schema,
)
from x121.builtin.docs.examples import make_example
from x121.builtin.docs.markdown import as_markdown
from x121.builtin.docs.schemas import Mode, Schema, Schemas, Use
from x121.core.signatures import parse_docstring
from x121.messaging.events import Event
from x121.messaging.handler import Handler
from x121.messaging.router import WsRouter
from x121.messaging.types import DataType

if TYPE_CHECKING:
    from x121.ws.protocol import Endpoint

__all__ = ["make_asyncapi"]

_ABOUT = """\
The WebSocket at {path} uses JSON in text messages.

A client sends `{{"type": ..., "id": ..., "data": ...}}`. For each message the server sends one \
`reply` or `error`, in the order of the messages, with the message's `id`: any JSON value, or \
null if the message had none.

In between, the server sends events, `{{"type": ..., "data": ...}}`. Those of a topic go to the \
connections that sent `subscribe` for it."""


def make_asyncapi(
    websockets: WsRouter, *, title: str, version: str, path: str = "/ws"
) -> dict[str, Any]:
    """Return the document of ``websockets``, nested at ``path``.

    It lists no servers: clients know the address.
    """
    document = _Document(_Schemas(websockets))
    document.add_messages(path, websockets)
    for below, endpoint in websockets.endpoints.items():
        document.add_endpoint(path + below, endpoint, path)
    asyncapi = {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version,
            "description": _ABOUT.format(path=f"`{path}`"),
        },
        "defaultContentType": "application/json",
        "channels": document.channels,
        "operations": document.operations,
    }
    if document.schemas.named:
        asyncapi["components"] = {"schemas": document.schemas.named}
    return asyncapi


class _Schemas:
    """Schemas of all data; ``named`` are those of models, by name."""

    def __init__(self, websockets: WsRouter) -> None:
        types = list(_all_types(websockets))
        schemas = Schemas(Use(data_type.what, data_type.kind, mode) for data_type, mode in types)
        self._by_type = {
            id(data_type): to_draft_07(schemas.of(data_type.kind, mode))
            for data_type, mode in types
        }
        self.named: dict[str, Schema] = {
            name: to_draft_07(schema) for name, schema in sorted(schemas.components.items())
        }

    def of(self, data_type: DataType[Any] | None) -> Schema:
        """Return the schema of a type, or of any value for None."""
        return ANYTHING if data_type is None else self._by_type[id(data_type)]

    def example_of(self, data_type: DataType[Any]) -> Schema:
        """Return an example of a type as the ``data`` of a message, empty without one."""
        try:
            data = make_example(self.of(data_type), self.named)
        except ValueError:
            return {}
        return {"data": data} if data_type.takes(data) else {}


def _all_types(websockets: WsRouter) -> Iterator[tuple[DataType[Any], Mode]]:
    for handler in websockets.handlers.values():
        if handler.data_type is not None:
            yield handler.data_type, "validation"
        if handler.reply_type is not None:
            yield handler.reply_type, "serialization"
    for event in websockets.events.values():
        yield event.data_type, "serialization"


class _Document:
    """A document under construction: channels with their messages, and operations."""

    def __init__(self, schemas: _Schemas) -> None:
        self.schemas = schemas
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}

    # --- messages and events ---

    def add_messages(self, path: str, websockets: WsRouter) -> None:
        """Add the channel of the features' messages and events."""
        channel = self._add_channel(path, "Messages and events", "")
        error = channel.add(
            "error",
            {
                "name": "error",
                "title": "error",
                "summary": "A message failed.",
                "correlationId": CORRELATION,
                "payload": ERROR,
                "examples": [{"payload": ERROR_EXAMPLE}],
            },
        )
        for handler in websockets.handlers.values():
            self._add_handler(channel, handler, error)
        for event in websockets.events.values():
            self._add_event(channel, event)

    def _add_handler(self, channel: _Channel, handler: Handler, error: Schema) -> None:
        doc = _doc_parts(handler.doc)
        data_type, reply_type = (
            self.schemas.of(handler.data_type),
            self.schemas.of(handler.reply_type),
        )
        nothing = {"data": None} if handler.reply_type is None else {}
        is_required = handler.data_type is not None and not handler.data_type.is_optional
        sent = channel.add(
            handler.type,
            {
                **_titled(handler.type, doc),
                "correlationId": CORRELATION,
                "payload": request_schema(handler.type, data_type, is_required=is_required),
                **self._examples({"type": handler.type, "id": 1}, handler.data_type),
            },
        )
        reply = channel.add(
            f"{handler.type}.reply",
            {
                "name": "reply",
                "title": f"reply to {handler.type}",
                "correlationId": CORRELATION,
                "payload": reply_schema(reply_type),
                **self._examples({"type": "reply", "id": 1, **nothing}, handler.reply_type),
            },
        )
        self.operations[_key(handler.type, self.operations)] = {
            "action": "receive",
            "channel": channel.reference,
            "title": handler.type,
            **doc,
            "messages": [sent],
            "reply": {"channel": channel.reference, "messages": [reply, error]},
        }

    def _add_event(self, channel: _Channel, event: Event[Any]) -> None:
        doc = _doc_parts(event.description)
        about = {"x-topic": str(event.topic)} if event.topic else {}
        sent = channel.add(
            event.name,
            {
                **_titled(event.name, doc),
                "payload": event_schema(event.name, self.schemas.of(event.data_type)),
                **self._examples({"type": event.name}, event.data_type),
                **about,
            },
        )
        self.operations[_key(event.name, self.operations)] = {
            "action": "send",
            "channel": channel.reference,
            "title": event.name,
            **_with_topic(doc, str(event.topic or "")),
            "messages": [sent],
            **about,
        }

    def _examples(self, example: Schema, data_type: DataType[Any] | None) -> dict[str, Any]:
        """Return ``example`` with example data of the type; nothing if required data has none."""
        if data_type is not None:
            example = {**example, **self.schemas.example_of(data_type)}
            if "data" not in example and not data_type.is_optional:
                return {}
        return {"examples": [{"payload": example}]}

    # --- other endpoints ---

    def add_endpoint(self, path: str, endpoint: Endpoint, events_path: str) -> None:
        """Add the channel of an endpoint that doesn't use JSON messages."""
        doc = _doc_parts(inspect.getdoc(type(endpoint)) or "")
        description = doc.get("description", "")
        if endpoint.takes_events:
            description += f"\n\nThe events of `{events_path}` are sent here, too."
        summary = doc.get("summary", "")
        channel = self._add_channel(path, type(endpoint).__name__, summary, description.strip())
        text = channel.add("text", _raw("text", "text/plain", {"type": "string"}))
        binary: Schema = {"type": "string", "format": "binary"}
        raw = channel.add("binary", _raw("binary", "application/octet-stream", binary))
        for action in ("receive", "send"):
            self.operations[_key(f"{action}.{path}", self.operations)] = {
                "action": action,
                "channel": channel.reference,
                "messages": [text, raw],
            }

    def _add_channel(
        self, address: str, title: str, summary: str, description: str = ""
    ) -> _Channel:
        key = _key(address, self.channels)
        channel = {"address": address, "title": title, "messages": {}}
        for name, text in (("summary", summary), ("description", description)):
            if text:
                channel[name] = text
        channel["bindings"] = {"ws": {"method": "GET", "bindingVersion": "0.1.0"}}
        self.channels[key] = channel
        return _Channel(key, channel)


class _Channel:
    """A channel to add messages to."""

    def __init__(self, key: str, channel: dict[str, Any]) -> None:
        self.reference = {"$ref": f"#/channels/{key}"}
        self._messages: dict[str, Any] = channel["messages"]

    def add(self, name: str, message: dict[str, Any]) -> Schema:
        """Add a message, and return a reference to it."""
        key = _key(name, self._messages)
        self._messages[key] = message
        return {"$ref": f"{self.reference['$ref']}/messages/{key}"}


# --- parts --------------------------------------------------------------------------------


def _raw(name: str, content_type: str, payload: Schema) -> Schema:
    return {"name": name, "title": name, "contentType": content_type, "payload": payload}


def _titled(name: str, doc: dict[str, str]) -> Schema:
    return {"name": name, "title": name, **doc}


def _doc_parts(doc: str) -> dict[str, str]:
    """Return the first paragraph of ``doc`` as summary and the rest as description."""
    return {
        name: as_markdown(text) for name, text in parse_docstring(doc)._asdict().items() if text
    }


def _with_topic(doc: dict[str, str], topic: str) -> dict[str, str]:
    """Return an event's summary and description, with its recipients."""
    recipients = f"For connections subscribed to `{topic}`." if topic else ""
    description = "\n\n".join(part for part in (doc.get("description"), recipients) if part)
    return {**doc, "description": description} if description else doc


def _key(name: str, taken: dict[str, Any]) -> str:
    """Return ``name`` as a unique key that needs no escapes in a reference."""
    key = base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.strip("/")) or "_"
    number = 1
    while key in taken:
        number += 1
        key = f"{base}_{number}"
    return key
