"""What an endpoint takes and gives, as its handler's signature and its decorator say.

A parameter whose name stands in the path, or in a prefix that the router is nested below, is read
from the path alone; one that is a model is the request's body; one that is a
:class:`~x121.http.request.Request` is the request itself.  Every other one stands in the query,
unless a marker in its annotation says where it is::

    async def search(
        self,
        owner_id: Id,                                               # /owners/<int:owner_id>/...
        words: Annotated[list[Text], Query("word")],                # ?word=red&word=round
        limit: Annotated[int, Field(ge=1, le=100)] = 20,            # ?limit=20
        language: Annotated[str, Header("Accept-Language")] = "en",
    ) -> list[Found]: ...

A parameter without a default has to be there.
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
"""Stands for a default, or a result, that nobody has stated."""

# What a handler without annotations could be given, and who gives it.
_REQUEST_TYPES = (Request, IRequest)


# --- what authors write -------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """Marks a parameter that stands in the query under another ``name`` than its own."""

    name: str


@dataclass(frozen=True)
class Header:
    """Marks a parameter that is the header ``name``."""

    name: str


class Body:
    """Marks a parameter that is the request's JSON body and no model, such as a list."""


@dataclass(frozen=True)
class Response(Generic[T]):
    """A handler's result that has ``headers``."""

    value: T
    headers: Mapping[str, str] = field(default_factory=dict)


class Declaration(TypedDict, total=False):
    """What a decorator says of an endpoint, besides its method and path.

    ``status`` is that of a result: 200, or 204 where there is none.  ``errors`` are the kinds
    that the handler raises; what every endpoint may be answered with is known.  ``headers`` of
    its results are described by name.  With ``etag`` a result has a tag, by which a client asks
    whether it is still the same (RFC 9110 section 8.8.3).
    """

    status: int
    errors: Sequence[type[AppError]]
    headers: Mapping[str, str]
    etag: bool
    deprecated: bool


# --- what is made of it -------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One value that a handler is given: the argument ``argument``, called ``name`` outside.

    ``is_list`` tells whether a request may have it several times.
    """

    argument: str
    name: str
    place: Place
    type: Any
    default: Any = MISSING

    @property
    def is_list(self) -> bool:
        """Whether the value is a list, whose items the request gives one by one."""
        return get_origin(_bare(self.type)) in (list, set, frozenset, tuple)


@dataclass(frozen=True)
class RequestBody:
    """The JSON body, which is the argument ``argument``; with a default it may be left out."""

    argument: str
    type: Any
    default: Any = MISSING

    @property
    def is_required(self) -> bool:
        """Whether a request has to have a body."""
        return self.default is MISSING


@dataclass(frozen=True)
class Operation:
    """One endpoint: its inputs, its result and how it may fail.

    ``request`` is the argument that is the request.  ``result`` is None for none, and ``MISSING``
    where the handler answers by itself.
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
        """Return the operation below a prefix with these parameters: they stand in the path."""
        parameters = (
            replace(one, name=one.argument, place="path") if one.argument in names else one
            for one in self.parameters
        )
        return replace(self, parameters=tuple(parameters))


def check_prefix(
    handler: Callable[..., Any], operation: Operation | None, prefix: str, names: Collection[str]
) -> None:
    """Raise :class:`TypeError` unless ``handler`` takes the parameters ``names`` of its prefix.

    A handler that could do without one would answer alike for each of its values.
    """
    arguments = {one.name: one.kind for one in inspect.signature(handler).parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in arguments.values():
        return
    elsewhere = set() if operation is None else {operation.request}
    if operation is not None and operation.body is not None:
        elsewhere.add(operation.body.argument)
    lost = sorted(set(names) - (arguments.keys() - elsewhere))
    if lost:
        why = f"{', '.join(lost)} of its prefix {prefix} is no argument from the path"
        raise signature_error(handler, f"{why}: give it one, such as {lost[0]}: Id")


def describe(handler: Callable[..., Any], result: Any, declared: Declaration) -> Operation:
    """Return the operation of a plain handler, which reads and answers its request by itself.

    ``result`` is the type of what it answers, as JSON; ``MISSING`` if that is nothing to tell.
    """
    return _operation(handler, (), None, None, result, declared)


def read_operation(
    handler: Callable[..., Any], in_path: Collection[str], declared: Declaration
) -> Operation:
    """Return the operation that ``handler`` is; ``in_path`` are the names in its path.

    Raises :class:`TypeError`, which names the handler, for a signature that says too little.
    """
    hints = type_hints(handler)
    if "return" not in hints:
        raise signature_error(handler, "say what it returns: -> a model, or -> None")
    parameters: list[Parameter] = []
    body: RequestBody | None = None
    request = None
    for one in _arguments(handler):
        if one.name not in hints:
            raise signature_error(handler, f"{one.name} has no type")
        hint = hints[one.name]
        if _is_request(hint):
            request = one.name
        elif _is_body(_without_none(hint)) and one.name not in in_path:
            if body is not None:
                raise signature_error(
                    handler, f"{body.argument} and {one.name} can't both be the body"
                )
            body = RequestBody(one.name, hint, one.default)
        else:
            parameters.append(_parameter(handler, one, _without_none(hint), in_path))
    lost = set(in_path) - {one.argument for one in parameters if one.place == "path"}
    if lost:
        raise signature_error(handler, f"{', '.join(sorted(lost))} of its path is no argument")
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
    told = parse_docstring(inspect.getdoc(handler))
    return Operation(
        summary=told.summary,
        description=told.description,
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
    """Return what the handler is to be given, all of it by name."""
    arguments = parameters_of(handler)
    for one in arguments:
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            raise signature_error(handler, f"{one} can't be given by name")
    return arguments


def _parameter(
    handler: Callable[..., Any], one: inspect.Parameter, kind: Any, in_path: Collection[str]
) -> Parameter:
    name = one.name
    place: Place = "path" if name in in_path else "query"
    for marker in getattr(kind, "__metadata__", ()):
        if isinstance(marker, (Query, Header)) and place != "path":
            name = marker.name
            place = "header" if isinstance(marker, Header) else "query"
    if _is_body(kind) or _has_model(kind):
        advice = "a body is a model, or has Body() in its annotation"
        raise signature_error(handler, f"{one.name} can't be read from the {place}: {advice}")
    return Parameter(one.name, name, place, kind, one.default)


def _is_request(hint: Any) -> bool:
    return hint in _REQUEST_TYPES


def _is_body(hint: Any) -> bool:
    marked = any(isinstance(m, Body) or m is Body for m in getattr(hint, "__metadata__", ()))
    return marked or _is_model(_bare(hint))


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def _has_model(kind: Any) -> bool:
    """Whether a type is a model or has one in it, as ``list[Item]`` does."""
    return _is_model(kind) or any(map(_has_model, get_args(kind)))


def _bare(hint: Any) -> Any:
    """Return a type without what is annotated to it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _without_none(hint: Any) -> Any:
    """Return ``T`` for ``T | None``: None can't be sent, only left out."""
    if get_origin(hint) is Annotated:
        bare, *metadata = get_args(hint)
        return Annotated[(_without_none(bare), *metadata)]
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(one for one in get_args(hint) if one is not types.NoneType)]  # noqa: UP007
    return hint
