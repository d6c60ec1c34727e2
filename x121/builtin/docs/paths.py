"""Documented endpoints of a router, with their paths in OpenAPI's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from werkzeug.routing import (
    AnyConverter,
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Rule,
    UUIDConverter,
)

from x121.builtin.docs.schemas import Schema
from x121.http.head import METHODS
from x121.web.operations import Operation
from x121.web.router import Router
from x121.web.rule_tree import converters_of, parts_of

__all__ = ["Documented", "documented", "schema_of_converter"]

_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Documented:
    """One method of a path: ``name`` is its handler's, ``owner`` its feature.

    ``converters`` are those of the parameters in its path, by name and in order.
    """

    path: str
    method: str
    name: str
    operation: Operation
    owner: object
    converters: Mapping[str, BaseConverter]


def documented(router: Router) -> Iterator[Documented]:
    """Yield every documented endpoint, in the order of definition and nesting.

    HEAD, which GET implies, and OPTIONS are left out.
    """
    endpoints: Mapping[str, Any] = router.endpoints
    for rule in router.url_map.iter_rules():
        endpoint = endpoints[rule.endpoint]
        operation = getattr(endpoint, "operation", None)
        if operation is None:
            continue
        path, converters = _template(rule)
        name = rule.endpoint.rpartition(".")[2]
        for method in _methods(rule):
            yield Documented(path, method.lower(), name, operation, endpoint.owner, converters)


def _methods(rule: Rule) -> list[str]:
    allowed = set(METHODS if rule.methods is None else rule.methods)
    implied = {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    return [method for method in METHODS if method in allowed - implied]


def _template(rule: Rule) -> tuple[str, dict[str, BaseConverter]]:
    """Return a rule's path, with ``{name}`` for ``<int:name>``, and its converters."""
    parts = parts_of(rule)
    path = "".join(
        f"{{{text}}}" if is_parameter else quote(text, safe="/!$&'()*+,;=:@~")
        for is_parameter, text in parts
    )
    names = [text for is_parameter, text in parts if is_parameter]
    converters = converters_of(rule)
    return path, {name: converters[name] for name in names}


def schema_of_converter(converter: BaseConverter) -> Schema:
    """Return the schema of the values that a converter of werkzeug's accepts."""
    if isinstance(converter, IntegerConverter):
        return {"type": "integer", "format": "int64", **_bounds(converter, _MAX_INT64)}
    if isinstance(converter, FloatConverter):
        return {"type": "number", **_bounds(converter, None)}
    if isinstance(converter, UUIDConverter):
        return {"type": "string", "format": "uuid"}
    if isinstance(converter, AnyConverter):
        return {"type": "string", "enum": sorted(converter.items)}
    return {"type": "string", "pattern": f"^{converter.regex}$"}


def _bounds(converter: IntegerConverter | FloatConverter, most: int | None) -> Schema:
    least = converter.min if converter.min is not None or converter.signed else 0
    bounds = {"minimum": least, "maximum": most if converter.max is None else converter.max}
    return {name: bound for name, bound in bounds.items() if bound is not None}
