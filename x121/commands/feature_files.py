"""Files of a generated feature, rendered from the templates in ``templates``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from x121.commands.fields import Field
from x121.commands.layout import lay_out, sort_names
from x121.commands.names import ROUTE_NAMES, GenerationError, Names
from x121.commands.parents import Step
from x121.commands.product import Product

__all__ = ["FeatureSpec", "render_feature"]

_PREFIX = re.compile(r"(/[a-z0-9][a-z0-9_-]*|/<int:[a-z][a-z0-9_]*_id>)+")
_PARAMETER = re.compile(r"<int:(\w+)>")


@dataclass(frozen=True)
class FeatureSpec:
    """Feature to generate: its names and fields, and the prefix that it is nested below.

    A parameter of ``below`` fills the field of the same name. Raises :class:`GenerationError` for a
    prefix with other parameters, and if no field is left that a client could send.
    """

    names: Names
    fields: Sequence[Field]
    below: str = ""

    def __post_init__(self) -> None:
        if self.below and not _PREFIX.fullmatch(self.below):
            raise GenerationError(
                f"invalid prefix {self.below!r}: expected a path such as /boards/<int:board_id>"
            )
        refs = {field.name: field for field in self.fields if field.parent}
        in_path = _PARAMETER.findall(self.below)
        if len(in_path) > 1:
            raise GenerationError(
                f"{self.below}: expected at most one parameter, because nothing says how the others"
                " are related to it"
            )
        for name in in_path:
            if name not in refs or refs[name].is_optional:
                wanted = f"{name.removesuffix('_id')}:ref"
                raise GenerationError(f"{self.below}: {name} fills no field; expected one {wanted}")
        if not self.sent:
            raise GenerationError(
                "no field is left for clients to send: expected one, such as title:text"
            )

    @property
    def owner(self) -> Field | None:
        """Field that is filled from the path."""
        in_path = _PARAMETER.findall(self.below)
        return next((field for field in self.fields if field.name in in_path), None)

    @property
    def columns(self) -> list[Field]:
        """Fields as columns of the table, the one from the path first."""
        return [*([self.owner] if self.owner else []), *self.sent]

    @property
    def sent(self) -> list[Field]:
        """Fields that a client sends."""
        return [field for field in self.fields if field != self.owner]

    @property
    def prefix(self) -> str:
        """Prefix of the feature's routes."""
        return f"{self.below}/{self.names.many}"


def render_feature(
    spec: FeatureSpec, product: Product, tables: Mapping[str, str], steps: Sequence[Step] | None
) -> dict[Path, str]:
    """Return the texts of the feature's files, by their paths in the product.

    ``tables`` are the tables that refs refer to, by name. ``steps`` create the rows that a test
    refers to; without them no tests are written.
    """
    many = spec.names.many
    folder = product.folder / many
    texts = {
        folder / "__init__.py": _render("init", spec),
        folder / "models.py": _models(spec, product),
        folder / "queries.py": _queries(spec, product, tables),
        folder / "events.py": _events(spec, product),
        folder / "routes.py": _routes(spec, product),
        product.migration(f"create_{many}"): _migration(spec, tables),
    }
    if steps is not None:
        texts[product.tests / f"test_{many}.py"] = _test(spec, product, steps)
    return texts


# --- the files ----------------------------------------------------------------------------


def _models(spec: FeatureSpec, product: Product) -> str:
    one = spec.names.One
    bounded = [field for field in spec.sent if field.kind.bounded]
    aliases = [f"{field.alias} = {field.kind.bounded}\n" for field in bounded]
    stored = [f"    {field.name}: {field.annotation}" for field in spec.columns]
    new = [f"    {field.name}: {field.taken}{_default(field)}" for field in spec.sent]
    changes = [f"    {field.name}: {field.taken} = optional()" for field in spec.sent]
    used = "\n".join([*aliases, *stored, *new])
    imports = _import_names(used, {"typing": "Annotated Literal", "uuid": "UUID"})
    imports |= _import_names(used, {"pydantic": "Field JsonValue", "x121": "Text"})
    imports.setdefault("x121", set()).update({"Id", "Model", "Timestamp", "optional"})
    exports = sort_names({one, f"{one}Changes", f"New{one}"})
    return _render(
        "models",
        spec,
        imports=_imports(imports, product, modules=["datetime"] if "datetime." in used else []),
        exports=", ".join(f'"{name}"' for name in exports),
        aliases=f"\n{''.join(aliases)}" if aliases else "",
        stored="\n".join(stored),
        new="\n".join(new),
        changes="\n".join(changes),
    )


def _default(field: Field) -> str:
    return " = None" if field.is_optional else ""


def _queries(spec: FeatureSpec, product: Product, tables: Mapping[str, str]) -> str:
    names, owner = spec.names, spec.owner
    sent = [field.name for field in spec.sent]
    columns = ["id", *(field.name for field in spec.columns), "created_at", "updated_at"]
    marks = ", ".join("%s" for _ in sent)
    new = [f"new.{name}" for name in sent]
    docstring = f'"""Insert {names.a_one}."""'
    source = f"VALUES ({marks})"
    if owner is not None:
        source = f"SELECT id, {marks} FROM {tables[owner.parent]} WHERE id = %s"  # noqa: S608
        new.append(owner.name)
        missing = owner.parent.replace("_", " ")
        docstring = (
            f'"""Insert {names.a_one}.  Raises :class:`~x121.errors.RowNotFound` if there is no'
            f' such {missing}."""'
        )
    key = [f"{names.one}_id"] if owner is None else [owner.name, f"{names.one}_id"]
    changed = [*sent, *([owner.name] if owner else []), "id"]
    models = {names.One, f"New{names.One}"}
    imports = {"x121": {"DbId", "Queryable"}, _module(spec, product, "models"): models}
    return _render(
        "queries",
        spec,
        imports=_imports(imports, product),
        columns=", ".join(columns),
        new_columns=", ".join([*([owner.name] if owner else []), *sent]),
        source=source,
        create_docstring=docstring,
        key=_tuple(key),
        new_values=_tuple(new),
        assignments=", ".join(f"{name} = %s" for name in sent),
        changed_values=_tuple([f"{names.one}.{name}" for name in changed]),
        parameters=f"{owner.name}: DbId, " if owner else "",
    )


def _events(spec: FeatureSpec, product: Product) -> str:
    imports = {
        "x121": {"AppState", "Event", "Handlers"},
        _module(spec, product, "models"): {spec.names.One},
    }
    owner = spec.owner
    return _render(
        "events",
        spec,
        imports=_imports(imports, product),
        topic=_PARAMETER.sub(r"{\1}", spec.prefix).removeprefix("/"),
        topic_arguments=f", {owner.name}={spec.names.one}.{owner.name}" if owner else "",
    )


def _routes(spec: FeatureSpec, product: Product) -> str:
    one = spec.names.One
    imports = {
        "x121": set(ROUTE_NAMES.split()),
        _module(spec, product, ""): {"events", "queries"},
        _module(spec, product, "models"): {one, f"{one}Changes", f"New{one}"},
    }
    sends_ref = any(field.parent for field in spec.sent)
    return _render(
        "routes",
        spec,
        imports=_imports(imports, product),
        create_errors="errors=[Conflict], " if spec.owner or sends_ref else "",
        change_errors=f"{'Conflict, ' if sends_ref else ''}PreconditionFailed",
    )


def _migration(spec: FeatureSpec, tables: Mapping[str, str]) -> str:
    many = spec.names.many
    columns = [_column(field, many, tables) for field in spec.columns]
    refs = [field for field in spec.columns if field.parent]
    indexes = [
        f"CREATE INDEX ix_{many}_{ref.parent} ON {many}"
        f" ({ref.name}{', id' if ref == spec.owner else ''});\n"
        for ref in refs
    ]
    return _render(
        "migration",
        spec,
        columns="\n".join(f"    {column}," for column in columns),
        indexes=f"\n{''.join(indexes)}" if indexes else "",
    )


def _column(field: Field, table: str, tables: Mapping[str, str]) -> str:
    column = f"{field.name} {field.kind.sql}{'' if field.is_optional else ' NOT NULL'}"
    if field.parent:
        constraint = f"CONSTRAINT fk_{table}_{field.parent} REFERENCES {tables[field.parent]}"
    elif field.kind.check:
        constraint = f"CONSTRAINT ck_{table}_{field.name} CHECK ({field.kind.check})"
    else:
        return column
    return f"{column}\n        {constraint}"


def _test(spec: FeatureSpec, product: Product, steps: Sequence[Step]) -> str:
    # Imported only when needed: Klein imports a reactor.
    from x121.application import API_PREFIX

    owner = spec.owner
    plain = [field for field in spec.sent if not field.parent]
    imports = {"typing": {"Any"}, "x121.testing": {"App"}}
    nested = ""
    if owner is not None:
        spoken = owner.parent.replace("_", " ")
        nested = _render("nested_test", spec, parent=owner.parent, spoken_parent=spoken)
    return _render(
        "test",
        spec,
        imports=_imports(imports, product, modules=["pytest", "pytest_twisted"]),
        url=_PARAMETER.sub(r"{\1}", f"{API_PREFIX}{spec.prefix}"),
        api_prefix=API_PREFIX,
        fields=_literal({field.name: field.kind.sample for field in plain}),
        other=_literal({field.name: field.kind.other for field in plain}),
        invalid=_literal({field.name: field.kind.invalid for field in spec.sent}),
        prepare=_prepare(spec, steps),
        nested_test=nested,
    )


def _prepare(spec: FeatureSpec, steps: Sequence[Step]) -> str:
    """Return the body of the function that creates the rows a test refers to."""
    lines = [line for step in steps for line in _create(step)]
    owner = spec.owner
    refs = [field for field in spec.sent if field.parent]
    path, fields = "URL", "FIELDS"
    if owner is not None:
        path = f"URL.format({owner.name}={owner.name})"
    if refs:
        fields = "fields"
        values = "".join(f', "{field.name}": {field.name}' for field in refs)
        lines.append(f"fields = {{**FIELDS{values}}}")
    lines.append(f"return {path}, {fields}")
    return "\n".join(f"    {line}" for line in lines)


def _create(step: Step) -> list[str]:
    path = _PARAMETER.sub(r"{\1}", step.path)
    prefix = "f" if "{" in path else ""
    references = {name: _Code(f"{one}_id") for name, one in step.references.items()}
    fields = _literal({**step.fields, **references})
    return [
        f'{step.one} = await app.fetch("POST", {prefix}"{path}", json={fields})',
        f'{step.one}_id = {step.one}.json["id"]',
    ]


# --- text ---------------------------------------------------------------------------------


class _Code(str):
    """Value that appears in generated code unchanged."""


def _literal(value: Any) -> str:
    """Return a JSON value as Python, with double quotes."""
    if isinstance(value, _Code):
        return value
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(k)}: {_literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str) and '"' not in value:
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _module(spec: FeatureSpec, product: Product, name: str) -> str:
    return ".".join(filter(None, (product.package, spec.names.many, name)))


def _import_names(code: str, modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the names in ``modules`` that ``code`` uses."""
    found = {
        module: {name for name in names.split() if re.search(rf"\b{name}\b", code)}
        for module, names in modules.items()
    }
    return {module: names for module, names in found.items() if names}


def _imports(
    names: Mapping[str, set[str]], product: Product, *, modules: Sequence[str] = ()
) -> str:
    """Return imports in ruff's order: standard library, installed packages, the product."""
    sections: list[list[str]] = [[], [], []]

    def section(module: str) -> list[str]:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return sections[0]
        return sections[2 if top == product.package.partition(".")[0] else 1]

    for module in sorted(modules):
        section(module).append(f"import {module}")
    for module in sorted(names):
        section(module).append(f"from {module} import {', '.join(sort_names(names[module]))}")
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _render(template: str, spec: FeatureSpec, **values: str) -> str:
    names, owner = spec.names, spec.owner
    text = (files("x121.commands") / "templates" / f"{template}.txt").read_text("utf-8")
    filled = Template(text).substitute(
        {
            "one": names.one,
            "many": names.many,
            "One": names.One,
            "Many": names.Many,
            "a_one": names.a_one,
            "A_one": names.a_one.capitalize(),
            "spoken_many": names.spoken_many,
            "Spoken_many": names.spoken_many.capitalize(),
            "parameters": f"{owner.name}: Id, " if owner else "",
            "arguments": f"{owner.name}, " if owner else "",
            "condition": f"{owner.name} = %s AND " if owner else "",
            **values,
        }
    )
    return filled if template == "migration" else lay_out(filled)
