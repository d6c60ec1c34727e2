"""Recognition of values that are valid because of how they were made.

A :class:`~x121.core.models.Model` is validated when it is made, or marked if it isn't, and can't be
changed.  So one whose parts can't be changed either needs no second validation before it is sent.
Lists can be changed: their items are looked at again.  A model is only recognized if its defaults,
which pydantic doesn't validate, are what validation would make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import SchemaValidator

from x121.core.models import Model, is_moment

__all__ = ["Recognize", "recognizer"]

Recognize = Callable[[Any], bool]
"""Returns True if a value is valid.  A value that it doesn't recognize has to be validated."""

_IMMUTABLE = frozenset(
    (
        *("bool", "date", "datetime", "decimal", "enum", "float", "int", "literal", "none"),
        *("str", "time", "timedelta", "uuid"),
    )
)
# A list with these keys alone has no constraints.
_PLAIN_LIST = frozenset(("type", "items_schema", "metadata", "ref"))


class _Unrecognizable(Exception):
    """A type whose values have to be validated."""


def recognizer(schema: Mapping[str, Any]) -> Recognize | None:
    """Return a function that recognizes valid values of a model or a list of models, or None.

    ``schema`` is pydantic's for the type.
    """
    definitions = {}
    if schema["type"] == "definitions":
        definitions = {part["ref"]: part for part in schema["definitions"]}
        schema = schema["schema"]
    try:
        return _Types(definitions).whole(schema)
    except (_Unrecognizable, RecursionError):  # a type may contain itself
        return None


class _Types:
    """Types of one schema, with the ``definitions`` that its parts refer to."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def whole(self, schema: Mapping[str, Any]) -> Recognize:
        """Return the recognizer of a model or a list.  Raises :class:`_Unrecognizable`."""
        if schema["type"] == "definition-ref":
            schema = self._definitions[schema["schema_ref"]]
        if "serialization" in schema:
            raise _Unrecognizable
        if schema["type"] == "list" and schema.keys() <= _PLAIN_LIST:
            return _list_of(self.whole(schema["items_schema"]))
        if schema["type"] == "model" and _is_immutable(schema):
            fields = schema["schema"]["fields"].items()
            config = schema["config"]
            parts = [(name, self._part(field["schema"], config)) for name, field in fields]
            return _instance_of(schema["cls"], [(n, part) for n, part in parts if part is not None])
        raise _Unrecognizable

    def _part(self, schema: Mapping[str, Any], config: Any) -> Recognize | None:
        """Return the recognizer of a model's part, or None if the part can't be changed.

        ``config`` is the model's.
        """
        if "serialization" in schema:
            raise _Unrecognizable
        kind = schema["type"]
        if kind in _IMMUTABLE or is_moment(schema):
            return None
        if kind == "default":
            part = self._part(schema["schema"], config)
            if part is None and not _has_valid_default(schema, config):
                raise _Unrecognizable
            return part
        if kind == "nullable":
            part = self._part(schema["schema"], config)
            return part and _none_or(part)
        return self.whole(schema)


def _has_valid_default(schema: Any, config: Any) -> bool:
    """Return True if the default of an immutable part is the same after validation."""
    try:
        default = schema["default"]
        valid = SchemaValidator(schema["schema"], config).validate_python(default)
    except Exception:  # there is none, or it isn't valid: pydantic or an Enum says so
        return False
    return type(valid) is type(default) and repr(valid) == repr(default)


def _is_immutable(schema: Mapping[str, Any]) -> bool:
    """Return True if instances of a model can't be changed, and have only their fields."""
    kind, fields = schema["cls"], schema["schema"]
    is_frozen = issubclass(kind, Model) and kind.model_config.get("frozen", False)
    has_only_fields = (
        fields["type"] == "model-fields"
        and not fields.get("computed_fields")
        and kind.model_config.get("extra") != "allow"
    )
    is_made_by_pydantic = "post_init" not in schema and not schema.get("custom_init")
    return is_frozen and has_only_fields and is_made_by_pydantic


def _instance_of(kind: type[Model], parts: list[tuple[str, Recognize]]) -> Recognize:
    def is_validated(value: Any) -> bool:
        # Model.model_construct and model_copy mark what they haven't validated.
        return type(value) is kind and type(value.__pydantic_fields_set__) is set

    def has_valid_parts(value: Any) -> bool:
        return is_validated(value) and all(
            recognize(getattr(value, name)) for name, recognize in parts
        )

    return has_valid_parts if parts else is_validated


def _list_of(recognize: Recognize) -> Recognize:
    return lambda value: type(value) is list and all(map(recognize, value))


def _none_or(recognize: Recognize) -> Recognize:
    return lambda value: value is None or recognize(value)
