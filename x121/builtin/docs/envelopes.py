"""The messages of :mod:`x121.messaging.codec` as schemas: what stands around the data."""

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

_ID: Schema = {"description": "Whatever the client likes; the answer has the same."}
_ITS_ID: Schema = {"description": "The message's own id; null if it had none, or wasn't read."}
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
            "description": "What is wrong, for programs; the same codes as over HTTP.",
            "examples": ["BAD_REQUEST"],
        },
        "details": {
            "type": "array",
            "description": "Every wrong field, if fields are wrong.",
            "items": {
                "type": "object",
                "properties": {
                    "path": {
                        "type": "string",
                        "description": "Where in the data, such as `items[2].name`.",
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
    """Return what a client sends with ``data``, which has to be there or not."""
    schema = _object({"type": {"const": message_type}, "id": _ID, "data": data})
    schema["required"] = ["type", "data"] if is_required else ["type"]
    return schema


def reply_schema(data: Schema) -> Schema:
    """Return what answers a message."""
    return _object({"type": {"const": "reply"}, "id": _ITS_ID, "data": data})


def event_schema(name: str, data: Schema) -> Schema:
    """Return what is sent unasked."""
    return _object({"type": {"const": name}, "data": data})


def _object(properties: Schema) -> Schema:
    """Return the schema of an object that has all of ``properties``."""
    return {"type": "object", "properties": properties, "required": list(properties)}
