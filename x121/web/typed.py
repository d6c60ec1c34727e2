"""Typed endpoints: inputs are checked before the handler runs, and its result afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache, partial, wraps
from types import CoroutineType, MethodType
from typing import Any, NotRequired, Required

from pydantic import ConfigDict, TypeAdapter, ValidationError
from twisted.internet.defer import Deferred
from typing_extensions import TypedDict

from x121.core import json_decoding
from x121.core.coroutines import unawaited
from x121.core.json_decoding import JsonLimits
from x121.core.signatures import qualified_name
from x121.core.validation import ResultSerializer, field_errors
from x121.errors import (
    BadRequest,
    FieldError,
    InternalError,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from x121.http.exchange import Result
from x121.http.facts import RequestFacts
from x121.http.headers import canonical
from x121.http.response import JSON_FIELDS, EncodedResponse, response_fields
from x121.web.etags import etag_of, exclude_versions, is_current, versions_argument
from x121.web.operations import MISSING, Operation, Parameter, RequestBody, Response
from x121.web.text_values import list_elements, text_validator

__all__ = ["BoundEndpoint", "bound_endpoint", "make_endpoint"]

_FIRST_STEP = re.compile(r"([^.\[]*)(.*)", re.DOTALL)


BoundEndpoint = Callable[[RequestFacts, dict[str, Any]], Result]
"""A typed endpoint on its instance, called with a request and the arguments from its path."""


def make_endpoint(handler: Callable[..., Any], operation: Operation) -> Callable[..., Any]:
    """Return a Klein handler that reads the arguments of ``handler`` and encodes its result.

    It raises :class:`BadRequest`, whose ``details`` are all the invalid fields,
    :class:`PayloadTooLarge` and :class:`UnsupportedMediaType`, and :class:`InternalError` for a
    result that isn't of its declared type.
    """
    typed = _TypedEndpoint(handler, operation)

    @wraps(handler)
    def endpoint(*bound: Any, **path: Any) -> Any:
        *instance, request = bound  # the instance of a method; a function has none
        return typed.respond(instance, request, path)

    endpoint.typed = typed  # type: ignore[attr-defined]
    return endpoint


def bound_endpoint(handler: Callable[..., Any]) -> BoundEndpoint | None:
    """Return the endpoint behind a handler that needs nothing of Twisted's request, or None."""
    typed: _TypedEndpoint | None = getattr(handler, "typed", None)
    if typed is None or typed.needs_request:
        return None
    instance = (handler.__self__,) if isinstance(handler, MethodType) else ()
    return partial(typed.respond, instance)


class _TypedEndpoint:
    """A handler with its arguments and its result."""

    def __init__(self, handler: Callable[..., Any], operation: Operation) -> None:
        self._handler = handler
        self._read = _Arguments(operation).read
        self._encode = _Results(handler, operation).encode
        self.needs_request = operation.request is not None

    def respond(
        self, instance: Sequence[Any], request: RequestFacts, path: dict[str, Any]
    ) -> Result:
        """Call the handler, a method of ``instance`` if that isn't empty."""
        result = self._handler(*instance, **self._read(request, path))
        if type(result) is CoroutineType:
            return self._finish(result, request)
        if Deferred in type(result).__mro__:  # isinstance() asks an abstract class, for long
            return result.addCallback(self._encode, request)
        return self._encode(result, request)

    async def _finish(
        self, running: Coroutine[Any, Any, Any], request: RequestFacts
    ) -> EncodedResponse:
        return self._encode(await running, request)


# --- arguments ----------------------------------------------------------------------------


class _Arguments:
    """Reads the arguments of one handler from requests."""

    def __init__(self, operation: Operation) -> None:
        parameters = operation.parameters
        self._query = [(p.name.encode(), p) for p in parameters if p.place == "query"]
        self._headers = [(canonical(p.name), p) for p in parameters if p.place == "header"]
        self._names = {parameter.argument: parameter.name for parameter in parameters}
        self._check = _checker(parameters)
        self._versions = versions_argument(operation)
        self._request = operation.request
        elsewhere = (self._query, self._headers, self._request, operation.body)
        self._is_in_path = bool(parameters) and not any(elsewhere)
        self._has_no_inputs = not parameters and not any(elsewhere)
        self._body = operation.body
        if operation.body is not None:
            self._check_body = TypeAdapter(operation.body.type).validator.validate_json

    def read(self, request: RequestFacts, path: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments; ``path`` has those from the path."""
        if self._has_no_inputs:
            return path
        if self._is_in_path:
            try:
                return self._check(path)
            except ValidationError:
                pass  # all errors are found below
        wrong: list[FieldError] = []
        arguments = path
        if self._names:
            arguments = self._read_parameters(request, path, wrong)
        if self._versions is not None and not wrong:
            exclude_versions(request, self._versions, arguments, wrong)
        if self._body is not None:
            self._read_body(self._body, request, arguments, wrong)
        if wrong:
            raise BadRequest("The request is not valid", details=wrong)
        if self._request is not None:
            arguments[self._request] = request
        return arguments

    def _read_parameters(
        self, request: RequestFacts, arguments: dict[str, Any], wrong: list[FieldError]
    ) -> dict[str, Any]:
        # Parameters of the path, and of the prefix of a nested router, come only from the path.
        for name, parameter in self._query:
            values = request.args.get(name)
            if values is not None and parameter.argument not in arguments:
                _read_query(arguments, parameter, values, wrong)
        for name, parameter in self._headers:
            value = request.requestHeaders.joined(name)
            if value is not None and parameter.argument not in arguments:
                text = value.decode("latin-1")
                arguments[parameter.argument] = list_elements(text) if parameter.is_list else text
        try:
            return self._check(arguments)
        except ValidationError as error:
            reported = {field["path"] for field in wrong}
            wrong += [field for field in self._named(error) if field["path"] not in reported]
            return arguments

    def _read_body(
        self,
        body: RequestBody,
        request: RequestFacts,
        arguments: dict[str, Any],
        wrong: list[FieldError],
    ) -> None:
        limits = request.site.json_limits
        payload = request.read_body(limits.max_json_bytes + 1)
        if not payload and not body.is_required:
            return
        _check_type(request)
        try:
            _check_json(payload, limits)
            arguments[body.argument] = self._check_body(payload, strict=True)
        except ValidationError as error:
            wrong += field_errors(error)
        except BadRequest as error:
            wrong.append(FieldError(path="", message=error.message))

    def _named(self, error: ValidationError) -> list[FieldError]:
        """Return the errors with the names that requests use for the arguments."""
        named = []
        for field in field_errors(error):
            argument, rest = _FIRST_STEP.fullmatch(field["path"]).groups()  # type: ignore[union-attr]
            name = self._names.get(argument, argument)
            named.append(FieldError(path=name + rest, message=field["message"]))
        return named


def _checker(parameters: tuple[Parameter, ...]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that checks the parameters' values, by argument, without missing ones."""
    members = {
        parameter.argument: (Required if parameter.default is MISSING else NotRequired)[
            parameter.type
        ]
        for parameter in parameters
    }
    typed_dict: Any = TypedDict  # mypy accepts only literal declarations
    kind = typed_dict("Parameters", members)
    kind.__pydantic_config__ = ConfigDict(hide_input_in_errors=True)
    return text_validator(TypeAdapter(kind))


def _read_query(
    arguments: dict[str, Any], parameter: Parameter, values: list[bytes], wrong: list[FieldError]
) -> None:
    """Add a parameter's values in the query to ``arguments``."""
    try:
        texts = [value.decode() for value in values]
    except UnicodeDecodeError:
        wrong.append(FieldError(path=parameter.name, message="This is not UTF-8"))
        return
    if parameter.is_list:
        arguments[parameter.argument] = texts
    elif len(texts) == 1:
        arguments[parameter.argument] = texts[0]
    else:
        wrong.append(FieldError(path=parameter.name, message="This is given more than once"))


def _check_type(request: RequestFacts) -> None:
    """Reject a body that isn't declared as JSON, or is compressed.

    A page of any origin may send other types, or none, with the user's cookies and without a
    preflight request (Fetch, "CORS-safelisted request-header").
    """
    content_type = request.requestHeaders.get(b"Content-Type")
    if content_type is None or not _is_json(content_type):
        raise UnsupportedMediaType("The body has to be JSON, with Content-Type: application/json")
    if request.requestHeaders.get(b"Content-Encoding") not in (None, b"identity"):
        raise UnsupportedMediaType("The body has a Content-Encoding: send it without one")


def _check_json(payload: bytes, limits: JsonLimits) -> None:
    """Reject a body that isn't JSON, or is too large to be decoded in one turn of the reactor."""
    if len(payload) > limits.max_json_bytes:
        raise PayloadTooLarge(
            f"The body is larger than {limits.max_json_bytes} bytes of JSON (MAX_JSON_BYTES)"
        )
    json_decoding.decode(payload, "The body", max_values=limits.max_json_values)


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    """Return True for the type of JSON (RFC 8259 section 11), in UTF-8 (section 8.1)."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    if media_type != b"application/json":
        return False
    charsets = [p[8:].strip(b'"') for p in parameters if p.startswith(b"charset=")]
    return all(charset in (b"utf-8", b"utf8") for charset in charsets)


# --- results ------------------------------------------------------------------------------


class _Results:
    """Makes responses from the results of one handler."""

    def __init__(self, handler: Callable[..., Any], operation: Operation) -> None:
        self._what = f"What {qualified_name(handler)} returned"
        self._status = operation.status
        self._etag = operation.etag
        self._is_none = operation.result is None
        if not self._is_none:
            adapter: TypeAdapter[Any] = TypeAdapter(operation.result)
            self._write = ResultSerializer(adapter, self._what).write

    def encode(self, result: Any, request: RequestFacts) -> EncodedResponse:
        """Return the response for ``result``."""
        if type(result) is Response:
            return self._encode(result.value, response_fields(result.headers.items()), request)
        if self._is_none:
            return EncodedResponse(self._status, self._check_none(result))
        if self._etag:
            return self._encode(result, {}, request)
        return EncodedResponse(self._status, self._write(result), JSON_FIELDS)

    def _encode(
        self, value: Any, fields: dict[bytes, bytes], request: RequestFacts
    ) -> EncodedResponse:
        """Return the response for ``value`` with ``fields``, and an entity tag if it has one."""
        if self._is_none:
            return EncodedResponse(self._status, self._check_none(value), fields)
        body = self._write(value)
        if self._etag:
            fields[b"ETag"] = tag = etag_of(body)
            if is_current(request, tag):
                return EncodedResponse(304, b"", fields)
        fields.update(JSON_FIELDS)
        return EncodedResponse(self._status, body, fields)

    def _check_none(self, result: Any) -> bytes:
        if result is not None:
            problem = unawaited(result) or f"not None, but {type(result).__name__}"
            raise InternalError(f"{self._what} is {problem}")
        return b""
