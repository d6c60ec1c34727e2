"""Features that a generated one can refer to, and requests by which tests create their rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from x121.commands.names import GenerationError

if TYPE_CHECKING:
    from x121.application import Mount

__all__ = ["Parent", "Step", "find_parents", "steps_to"]

_ITEM = re.compile(r"/<int:(\w+)_id>")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Parent:
    """Feature whose rows have the path ``prefix/<int:one_id>``; ``body`` creates one of them.

    ``table`` has the name of the last part of the prefix.
    """

    one: str
    prefix: str
    body: type[BaseModel] | None

    @property
    def table(self) -> str:
        """Table with its rows."""
        return self.prefix.rpartition("/")[2]


@dataclass(frozen=True)
class Step:
    """Request of a test: a POST of ``fields`` to ``path`` creates a ``one``.

    The fields in ``references`` are added: ids of rows that earlier steps created.
    """

    one: str
    path: str
    fields: Mapping[str, Any]
    references: Mapping[str, str]


def find_parents(mounts: Iterable[Mount]) -> dict[str, Parent]:
    """Return the features that can be referred to, by the name of one of their rows."""
    parents: dict[str, Parent] = {}
    for mount in mounts:
        router = mount.feature.router
        rules = [] if router is None else list(router.url_map.iter_rules())
        items = [found[1] for rule in rules if (found := _ITEM.fullmatch(rule.rule))]
        for one in dict.fromkeys(items):
            parents.setdefault(one, Parent(one, mount.prefix, _body(router)))
    return parents


def _body(router: Any) -> type[BaseModel] | None:
    """Return the model that is posted to a feature to create a row."""
    for rule in router.url_map.iter_rules():
        if rule.rule == "/" and "POST" in (rule.methods or ()):
            operation = getattr(router.endpoints[rule.endpoint], "operation", None)
            kind = None if operation is None or operation.body is None else operation.body.type
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                return kind
    return None


def steps_to(ones: Iterable[str], parents: Mapping[str, Parent]) -> list[Step]:
    """Return the requests that create one of each of ``ones``, after the rows that they refer to.

    Raises :class:`GenerationError` if a feature doesn't show how to create a row.
    """
    steps: dict[str, Step] = {}
    for one in ones:
        _add_steps(one, parents, steps, ())
    return list(steps.values())


def _add_steps(
    one: str, parents: Mapping[str, Parent], steps: dict[str, Step], inside: tuple[str, ...]
) -> None:
    if one in steps:
        return
    if one in inside or one not in parents:
        raise _unclear(one)
    parent = parents[one]
    fields = _sample(parent)
    in_path = [_referred(name) for name in _PARAMETER.findall(parent.prefix)]
    references = {name: _referred(name) for name in fields if _referred(name) in parents}
    for reference in [*in_path, *references.values()]:
        _add_steps(reference, parents, steps, (*inside, one))
    values = {name: value for name, value in fields.items() if name not in references}
    steps[one] = Step(one, parent.prefix, values, references)


def _referred(name: str) -> str:
    """Return the name that a parameter or a field such as ``board_id`` refers to."""
    return name.removesuffix("_id")


def _sample(parent: Parent) -> dict[str, Any]:
    """Return values for the required fields."""
    from x121.builtin.docs.examples import make_example

    if parent.body is None:
        raise _unclear(parent.one)
    schema = parent.body.model_json_schema()
    try:
        example = make_example(schema, schema.get("$defs", {}))
    except ValueError:
        raise _unclear(parent.one) from None
    return {name: example[name] for name in schema.get("required", ())}


def _unclear(one: str) -> GenerationError:
    return GenerationError(
        f"the tests need a {one}, and no feature shows how to create one: expected a POST to its"
        f" prefix whose body is a model with examples; or use --no-tests and write them yourself"
    )
