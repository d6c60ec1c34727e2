"""Operations: an endpoint's inputs and result, read from its handler's signature and decorator.

A parameter whose name is in the path, or in a prefix that the router is nested below, is read only
from the path.  One whose type is a model is the request's body.  One whose type is
:class:`~x121.http.request.Request` is the request itself.  Any other is read from the query, unless
a marker in its annotation names another place::

    async def search(
        self,
        owner_id: Id,                                               # /owners/<int:owner_id>/...
        words: Annotated[list[Text], Query("word")],                # ?word=red&word=round
        limit: Annotated[int, Field(ge=1, le=100)] = 20,            # ?limit=20
        language: Annotated[str, Header("Accept-Language")] = "en",
    ) -> list[Found]: ...

A parameter without a default is required.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from twisted.web.iweb import IRequest

from x121.core.signatures import parameters_of, parse_docstring, signature_error, type_hints, unwrap
from x121.errors import AppError
from x121.http.request import Request

__all__ = [
    "MISSING",
    "Body",
    "Declaration",
    "Header",
    "Operation",
    "Parameter",
    "Query",
    "RequestBody",
    "Response",
    "check_prefix",
    "describe",
    "read_operation",
]

T = TypeVar("T")
Place = Literal["path", "query", "header"]

MISSING = inspect.Parameter.empty
"""Stands for a default or a result that isn't declared."""

_REQUEST_TYPES = (Request, IRequest)


# --- declarations -------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """Marks a parameter that is called ``name`` in the query."""

    name: str


@dataclass(frozen=True)
class Header:
    """Marks a parameter that is read from the header ``name``."""

    name: str


class Body:
    """Marks a parameter that is the request's JSON body but not a model, such as a list."""


@dataclass(frozen=True)
class Response(Generic[T]):
    """A handler's result, sent with ``headers``."""

    value: T
    headers: Mapping[str, str] = field(default_factory=dict)


class Declaration(TypedDict, total=False):
    """Options of an endpoint's decorator, besides its method and path.

    ``status`` is that of a result: by default 200, or 204 if the handler returns None.  ``errors``
    are the kinds that the handler raises, without those that every endpoint may raise.
    ``headers`` describes the result's headers, by name.  With ``etag`` a result has an entity tag,
    for conditional requests (RFC 9110 section 8.8.3).
    """

    status: int
    errors: Sequence[type[AppError]]
    headers: Mapping[str, str]
    etag: bool
    deprecated: bool


# --- operations ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A parameter of a handler: its argument ``argument``, which requests call ``name``."""

    argument: str
    name: str
    place: Place
    type: Any
    default: Any = MISSING

    @property
    def is_list(self) -> bool:
        """True if the value is a list: a request may have the parameter several times."""
        return get_origin(_bare(self.type)) in (list, set, frozenset, tuple)


@dataclass(frozen=True)
class RequestBody:
    """The JSON body, passed as the argument ``argument``; optional if it has a default."""

    argument: str
    type: Any
    default: Any = MISSING

    @property
    def is_required(self) -> bool:
        """True if a request must have a body."""
        return self.default is MISSING


@dataclass(frozen=True)
class Operation:
    """One endpoint: its inputs, its result and its errors.

    ``request`` is the name of the argument that gets the request.  ``result`` is the result's type:
    None for no result, ``MISSING`` if the handler writes its response itself.
    """

    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    body: RequestBody | None
    request: str | None
    result: Any
    status: int
    errors: tuple[type[AppError], ...]
    headers: Mapping[str, str]
    etag: bool
    deprecated: bool

    def below(self, names: Collection[str]) -> Operation:
        """Return the operation below a prefix with the parameters ``names``, read from the path."""
        parameters = (
            replace(parameter, name=parameter.argument, place="path")
            if parameter.argument in names
            else parameter
            for parameter in self.parameters
        )
        return replace(self, parameters=tuple(parameters))


def check_prefix(
    handler: Callable[..., Any], operation: Operation | None, prefix: str, names: Collection[str]
) -> None:
    """Raise :class:`TypeError` unless ``handler`` accepts the parameters ``names`` of its prefix.

    A handler that ignored one would respond the same for each of its values.
    """
    parameters = inspect.signature(handler).parameters.values()
    arguments = {parameter.name: parameter.kind for parameter in parameters}
    if inspect.Parameter.VAR_KEYWORD in arguments.values():
        return
    elsewhere = set() if operation is None else {operation.request}
    if operation is not None and operation.body is not None:
        elsewhere.add(operation.body.argument)
    lost = sorted(set(names) - (arguments.keys() - elsewhere))
    if lost:
        raise signature_error(
            handler,
            f"it has no parameter for {', '.join(lost)} of its prefix {prefix}: add one, such as"
            f" {lost[0]}: Id",
        )


def describe(handler: Callable[..., Any], result: Any, declared: Declaration) -> Operation:
    """Return the operation of a plain handler, which reads its request and writes its response.

    ``result`` is the type of its JSON response, ``MISSING`` if that isn't documented.
    """
    return _operation(handler, (), None, None, result, declared)


def read_operation(
    handler: Callable[..., Any], in_path: Collection[str], declared: Declaration
) -> Operation:
    """Return the operation of ``handler``; ``in_path`` are the names in its path.

    Raises :class:`TypeError`, which names the handler, for an incomplete or invalid signature.
    """
    hints = type_hints(handler)
    if "return" not in hints:
        raise signature_error(handler, "it has no return type: add -> a model, or -> None")
    parameters: list[Parameter] = []
    body: RequestBody | None = None
    request = None
    for argument in _arguments(handler):
        name = argument.name
        if name not in hints:
            raise signature_error(handler, f"its parameter {name} has no type: annotate it")
        hint = hints[name]
        if _is_request(hint):
            request = name
        elif _is_body(_without_none(hint)) and name not in in_path:
            if body is not None:
                raise signature_error(handler, f"{body.argument} and {name} can't both be the body")
            body = RequestBody(name, hint, argument.default)
        else:
            parameters.append(_parameter(handler, argument, _without_none(hint), in_path))
    lost = set(in_path) - {
        parameter.argument for parameter in parameters if parameter.place == "path"
    }
    if lost:
        raise signature_error(
            handler, f"it has no parameter for {', '.join(sorted(lost))} of its path: add one"
        )
    result = unwrap(hints["return"], Response)
    result = None if result is types.NoneType else result
    return _operation(handler, tuple(parameters), body, request, result, declared)


def _operation(
    handler: Callable[..., Any],
    parameters: tuple[Parameter, ...],
    body: RequestBody | None,
    request: str | None,
    result: Any,
    declared: Declaration,
) -> Operation:
    doc = parse_docstring(inspect.getdoc(handler))
    return Operation(
        summary=doc.summary,
        description=doc.description,
        parameters=parameters,
        body=body,
        request=request,
        result=result,
        status=declared.get("status", 204 if result is None else 200),
        errors=tuple(declared.get("errors", ())),
        headers=dict(declared.get("headers", {})),
        etag=declared.get("etag", False),
        deprecated=declared.get("deprecated", False),
    )


def _arguments(handler: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the handler's arguments, which are all passed by name."""
    arguments = parameters_of(handler)
    for argument in arguments:
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise signature_error(handler, f"{argument} can't be passed by name")
    return arguments


def _parameter(
    handler: Callable[..., Any], argument: inspect.Parameter, kind: Any, in_path: Collection[str]
) -> Parameter:
    name = argument.name
    place: Place = "path" if name in in_path else "query"
    for marker in getattr(kind, "__metadata__", ()):
        if isinstance(marker, (Query, Header)) and place != "path":
            name = marker.name
            place = "header" if isinstance(marker, Header) else "query"
    if _is_body(kind) or _has_model(kind):
        advice = "for a body use a model, or Body() in its annotation"
        raise signature_error(handler, f"{argument.name} can't be read from the {place}: {advice}")
    return Parameter(argument.name, name, place, kind, argument.default)


def _is_request(hint: Any) -> bool:
    return hint in _REQUEST_TYPES


def _is_body(hint: Any) -> bool:
    marked = any(isinstance(m, Body) or m is Body for m in getattr(hint, "__metadata__", ()))
    return marked or _is_model(_bare(hint))


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def _has_model(kind: Any) -> bool:
    """Return True if a type is a model or contains one, as ``list[Item]`` does."""
    return _is_model(kind) or any(map(_has_model, get_args(kind)))


def _bare(hint: Any) -> Any:
    """Return a type without its ``Annotated`` metadata."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _without_none(hint: Any) -> Any:
    """Return ``T`` for ``T | None``: None can't be sent, only left out."""
    if get_origin(hint) is Annotated:
        bare, *metadata = get_args(hint)
        return Annotated[(_without_none(bare), *metadata)]
    if get_origin(hint) in (Union, types.UnionType):
        kinds = tuple(kind for kind in get_args(hint) if kind is not types.NoneType)
        return Union[kinds]  # noqa: UP007
    return hint
