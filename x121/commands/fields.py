"""Fields of a generated feature, declared as ``NAME:TYPE``: their types in SQL and Python."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from x121.commands.names import GenerationError, check_identifier, check_not_reserved, class_name
from x121.core.models import Model

__all__ = ["Field", "Kind", "parse_fields"]

_CHOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_MAX_TEXT = 1000


@dataclass(frozen=True)
class Kind:
    """Type of a field: its column, and its annotation in models.

    ``bounded`` is the annotation of the value that a client sends, if stricter than ``annotation``.
    ``check`` is the condition of a constraint. ``sample`` and ``other`` are two JSON values of the
    type; ``invalid`` is not one.
    """

    sql: str
    annotation: str
    sample: Any
    other: Any
    invalid: Any
    bounded: str = ""
    check: str = ""


_KINDS = {
    "text": Kind(
        "TEXT",
        "Text",
        "first",
        "second",
        "",
        bounded=f"Annotated[Text, Field(min_length=1, max_length={_MAX_TEXT})]",
        check=f"char_length({{column}}) BETWEEN 1 AND {_MAX_TEXT}",
    ),
    "int": Kind(
        "BIGINT", "int", 1, 2, "1", bounded="Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]"
    ),
    "float": Kind("DOUBLE PRECISION", "float", 1.5, 2.5, "1.5"),
    "bool": Kind("BOOLEAN", "bool", True, False, "true"),
    "date": Kind("DATE", "datetime.date", "2026-01-02", "2026-12-31", "2026-02-30"),
    "time": Kind(
        "TIMESTAMPTZ", "Timestamp", "2026-01-02T03:04:05Z", "2026-12-31T23:59:59Z", "2026-01-02"
    ),
    "uuid": Kind(
        "UUID",
        "UUID",
        "0b9d7d8c-6c0b-4f5d-9a43-2f6f6f0f8f3e",
        "5d3f0c1e-9d1b-4a57-8a35-4f4b1b0f6f10",
        "7",
    ),
    "json": Kind(
        "JSONB",
        "dict[str, JsonValue]",
        {"key": "value"},
        {"key": [1, None]},
        [],
        bounded='Annotated[dict[str, JsonValue], Field(examples=[{"key": "value"}])]',
    ),
}
_REF = Kind("BIGINT", "Id", None, None, 0)
_TYPES = f"{', '.join(_KINDS)}, ref, or choices such as open|done"


@dataclass(frozen=True)
class Field:
    """Field of a feature: ``parent`` is what a ref refers to, such as ``board``, and else empty."""

    name: str
    kind: Kind
    is_optional: bool
    parent: str = ""

    @property
    def annotation(self) -> str:
        """Type of the stored value."""
        stored = self.alias if self.kind.annotation == "" else self.kind.annotation
        return f"{stored} | None" if self.is_optional else stored

    @property
    def taken(self) -> str:
        """Type of the value that a client sends."""
        taken = self.alias if self.kind.bounded else self.kind.annotation
        return f"{taken} | None" if self.is_optional else taken

    @property
    def alias(self) -> str:
        """Name of the bounded type."""
        return f"_{class_name(self.name)}"


def parse_fields(declarations: Sequence[str]) -> list[Field]:
    """Return the fields that ``NAME:TYPE`` declare.

    Raises :class:`GenerationError` for an invalid declaration, and for a name that is used twice.
    """
    fields = [_parse(declaration) for declaration in declarations]
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GenerationError(f"{', '.join(twice)}: several fields have this name")
    return fields


def _parse(declaration: str) -> Field:
    name, colon, kind_name = declaration.partition(":")
    if not colon:
        raise GenerationError(f"{declaration!r}: expected NAME:TYPE, such as title:text")
    check_identifier(name, "field name")
    is_optional = kind_name.endswith("?")
    kind_name = kind_name.removesuffix("?")
    if kind_name == "ref":
        return Field(_free(f"{name}_id"), _REF, is_optional, parent=name)
    if "|" in kind_name:
        return Field(_free(name), _choices(declaration, kind_name), is_optional)
    if kind_name not in _KINDS:
        raise GenerationError(
            f"{declaration!r}: expected as TYPE one of {_TYPES}; with ? behind it if optional"
        )
    kind = _KINDS[kind_name]
    return Field(_free(name), replace(kind, check=kind.check.format(column=name)), is_optional)


def _choices(declaration: str, text: str) -> Kind:
    choices = text.split("|")
    wrong = [choice for choice in choices if not _CHOICE.fullmatch(choice)]
    if wrong or len(set(choices)) < len(choices):
        raise GenerationError(
            f"{declaration!r}: expected different choices of letters, digits, _ and -, such as"
            " open|done"
        )
    name = declaration.partition(":")[0]
    listed = ", ".join(f"'{choice}'" for choice in choices)
    return Kind(
        "TEXT",
        "",
        choices[0],
        choices[1],
        "?",
        bounded=f"Literal[{json.dumps(choices)[1:-1]}]",
        check=f"{name} IN ({listed})",
    )


def _free(name: str) -> str:
    """Return the name of a field.

    Raises :class:`GenerationError` for a name that every feature has already, or that has another
    meaning in a model.
    """
    check_not_reserved(name, "field name")
    taken = ("id", "created_at", "updated_at")
    if name in taken:
        raise GenerationError(f"invalid field name {name!r}: every feature has this field already")
    types = ("bool", "datetime", "dict", "float", "int")
    if hasattr(Model, name) or name.startswith("model_") or name in types:
        raise GenerationError(
            f"invalid field name {name!r}: models use this name themselves; choose another one,"
            f" such as the_{name}"
        )
    return name
