"""Table of all routes, as ``x121 routes`` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from klein import Klein

from x121.web.operations import MISSING, Operation

__all__ = ["Route", "list_routes"]


@dataclass(frozen=True, order=True)
class Route:
    """A row: ``handler`` serves ``method`` at ``path``; ``types`` is its signature."""

    path: str
    method: str
    handler: str
    types: str


def list_routes(router: Klein) -> list[Route]:
    """Return the routes of ``router``, sorted by path, without the implied HEAD and OPTIONS."""
    return sorted(_routes(router))


def _routes(router: Klein) -> Iterator[Route]:
    for rule in router.url_map.iter_rules():
        endpoint: Any = router.endpoints[rule.endpoint]
        operation = getattr(endpoint, "operation", None)
        types = "" if operation is None else _types(operation)
        for method in (rule.methods or {"*"}) - {"HEAD", "OPTIONS"}:
            yield Route(rule.rule, method, _handler(endpoint), types)


def _handler(endpoint: Any) -> str:
    owner = getattr(endpoint, "owner", None)
    name = endpoint.__name__.rpartition(".")[2]
    return name if owner is None else f"{type(owner).__name__}.{name}"


def _types(operation: Operation) -> str:
    inputs = [(parameter.name, parameter.type) for parameter in operation.parameters]
    if operation.body is not None:
        inputs.append((operation.body.argument, operation.body.type))
    text = ", ".join(f"{name}: {_type(kind)}" for name, kind in inputs)
    if operation.result is MISSING:
        return text
    status = "" if operation.status in (200, 204) else f"{operation.status} "
    return f"{text} -> {status}{_type(operation.result)}".lstrip()


def _type(kind: Any) -> str:
    """Return a type as written in a signature, without its ``Annotated`` metadata."""
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) is not None:
        return str(kind).replace("typing.", "")
    return getattr(kind, "__name__", None) or str(kind)
