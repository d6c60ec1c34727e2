"""JSON Schemas of the features' types (2020-12, as in OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from x121.core.types import NO_NUL

__all__ = ["Mode", "Schema", "Schemas", "Use"]

Schema = dict[str, Any]

Mode = Literal["validation", "serialization"]
"""The use of a schema: for input, or for output."""

_EXAMPLE = "Some text"
_REF = "#/components/schemas/{model}"


class Use(NamedTuple):
    """A use of a type; ``where`` is for error messages."""

    where: str
    type: Any
    mode: Mode


class Schemas:
    """The schemas of all ``uses``, and the ``components`` that they refer to, by name.

    They are generated together, because unique names of components require all of them.  Raises
    :class:`TypeError`, with the place of use, for a type that has no schema.
    """

    def __init__(self, uses: Iterable[Use]) -> None:
        # Types are identified by their id, because not every type is hashable.
        self._uses = {(id(use.type), use.mode): use for use in uses}
        schemas, definitions = _generate(list(self._uses.values()))
        self._schemas: dict[tuple[Any, Mode], Schema] = schemas
        self.components: dict[str, Schema] = definitions.get("$defs", {})

    def of(self, kind: Any, mode: Mode) -> Schema:
        """Return the schema of a type, a new one each time."""
        return dict(self._schemas[id(kind), mode])


class _Generator(GenerateJsonSchema):
    """Generates schemas that people can read, too."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out the titles that only repeat a field's name."""
        return False

    def str_schema(self, schema: core_schema.StringSchema) -> Schema:
        """Add words as an example of text: Swagger UI generates random ones from its pattern."""
        text = super().str_schema(schema)
        if text.get("pattern") == NO_NUL and text.get("minLength", 0) <= len(_EXAMPLE):
            text["examples"] = [_EXAMPLE[: text.get("maxLength")]]
        return text


def _generate(uses: list[Use]) -> tuple[Any, Schema]:
    inputs: list[tuple[Any, Mode, TypeAdapter[Any]]] = [
        (id(use.type), use.mode, TypeAdapter(use.type)) for use in uses
    ]
    try:
        return TypeAdapter.json_schemas(inputs, ref_template=_REF, schema_generator=_Generator)
    except PydanticInvalidForJsonSchema:
        if len(uses) > 1:
            for use in uses:
                _generate([use])
        raise TypeError(
            f"{uses[0].where}: {uses[0].type} has no JSON Schema: annotate it with WithJsonSchema"
        ) from None
