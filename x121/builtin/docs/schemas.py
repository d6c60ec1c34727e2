"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) of the types that features take and give."""

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
"""What a schema is of: what is taken, or what is given."""

_EXAMPLE = "Some text"
_REF = "#/components/schemas/{model}"


class Use(NamedTuple):
    """Where a type is used, for messages, and how."""

    where: str
    type: Any
    mode: Mode


class Schemas:
    """The schemas of all ``uses``, and the ``components`` that they refer to, by name.

    Made all at once, because it takes all to give each component a name of its own.  Raises
    :class:`TypeError` for a type that has no schema, and says where it is used.
    """

    def __init__(self, uses: Iterable[Use]) -> None:
        # Types are known by their identity, because not every one can be hashed.
        self._uses = {(id(use.type), use.mode): use for use in uses}
        made, whole = _generate(list(self._uses.values()))
        self._made: dict[tuple[Any, Mode], Schema] = made
        self.components: dict[str, Schema] = whole.get("$defs", {})

    def of(self, kind: Any, mode: Mode) -> Schema:
        """Return the schema of a type, a new one each time."""
        return dict(self._made[id(kind), mode])


class _Generator(GenerateJsonSchema):
    """Makes schemas for people, too."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out the titles that only repeat a field's name."""
        return False

    def str_schema(self, schema: core_schema.StringSchema) -> Schema:
        """Have words as an example of text: pages make random characters of its pattern."""
        made = super().str_schema(schema)
        if made.get("pattern") == NO_NUL and made.get("minLength", 0) <= len(_EXAMPLE):
            made["examples"] = [_EXAMPLE[: made.get("maxLength")]]
        return made


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
