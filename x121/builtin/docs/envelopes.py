"""Schemas of the messages of :mod:`x121.messaging.codec`, around the data's schemas."""

from __future__ import annotations

from x121.builtin.docs.schemas import Schema

__all__ = [
    "ANYTHING",
    "CORRELATION",
    "ERROR",
    "ERROR_EXAMPLE",
    "event_schema",
    "reply_schema",
    "request_schema",
]

_ID: Schema = {"description": "Any JSON value; the reply has the same."}
_ITS_ID: Schema = {"description": "The id of your message; null if it had none or is unreadable."}
ANYTHING: Schema = {"description": "Any JSON value."}
CORRELATION = {"location": "$message.payload#/id"}
ERROR: Schema = {
    "type": "object",
    "properties": {
        "type": {"const": "error"},
        "id": _ITS_ID,
        "error": {"type": "string", "description": "What is wrong, for people."},
        "code": {
            "type": "string",
            "description": "What is wrong, for programs; the same codes as in HTTP responses.",
            "examples": ["BAD_REQUEST"],
        },
        "details": {
            "type": "array",
            "description": "All invalid fields, if there are any.",
            "items": {
                "type": "object",
                "properties": {
                    "path": {
                        "type": "string",
                        "description": "The place in the data, such as `items[2].name`.",
                        "examples": ["name"],
                    },
                    "message": {
                        "type": "string",
                        "description": "What is wrong there.",
                        "examples": ["This field is required"],
                    },
                },
                "required": ["path", "message"],
            },
        },
    },
    "required": ["type", "id", "error", "code"],
}
ERROR_EXAMPLE = {
    "type": "error",
    "id": 1,
    "error": "The message's data is not valid",
    "code": "BAD_REQUEST",
    "details": [{"path": "name", "message": "This field is required"}],
}


def request_schema(message_type: str, data: Schema, *, is_required: bool) -> Schema:
    """Return the schema of a client's message with ``data``, which may be optional."""
    schema = _object({"type": {"const": message_type}, "id": _ID, "data": data})
    schema["required"] = ["type", "data"] if is_required else ["type"]
    return schema


def reply_schema(data: Schema) -> Schema:
    """Return the schema of a reply."""
    return _object({"type": {"const": "reply"}, "id": _ITS_ID, "data": data})


def event_schema(name: str, data: Schema) -> Schema:
    """Return the schema of an event."""
    return _object({"type": {"const": name}, "data": data})


def _object(properties: Schema) -> Schema:
    """Return the schema of an object that requires all of ``properties``."""
    return {"type": "object", "properties": properties, "required": list(properties)}
