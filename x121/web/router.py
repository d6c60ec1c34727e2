"""Router of HTTP routes: Klein's, nested into one werkzeug map, so that a request is matched once.

A feature is a class with a ``router``; its methods are handlers and its state is ``self``::

    class Projects:
        router = Router()

        def __init__(self, state: AppState) -> None:
            self._pool = state.pool

        @router.get("/<int:project_id>", errors=[NotFound])
        async def show(self, project_id: Id) -> Project: ...

    Router().nest("/projects", Projects(state).router)

``get``, ``post``, ``put``, ``patch`` and ``delete`` are typed: see :mod:`x121.web.operations`.
With ``route`` a handler is Klein's: it gets its request and writes the response itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack

from klein import Klein
from werkzeug.routing import IntegerConverter, Map, Rule

from x121.core.signatures import signature_error
from x121.web.klein_compat import (
    Endpoint,
    bound_handler,
    instance_of,
    refuse_error_handlers,
)
from x121.web.operations import (
    MISSING,
    Declaration,
    Operation,
    check_prefix,
    describe,
    read_operation,
)
from x121.web.typed import make_endpoint

__all__ = ["Router"]

_NAME_IN_BRACES = re.compile(r"(?<=/){(\w+)(?::\w+)?}(?=/|$)")  # as other frameworks have it
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Router(Klein):
    """A Klein application that other applications can be nested into."""

    def __init__(self) -> None:
        super().__init__()
        # Paths match exactly: two slashes are not one, and don't redirect.
        self._url_map = Map(merge_slashes=False, converters=_CONVERTERS)
        self._attribute = ""
        self._converters = self._url_map.converters
        self._subroute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Store the name of the attribute."""
        self._attribute = name

    def __get__(self, instance: Any, owner: object) -> Router:
        """Return a router whose handlers are called on ``instance``.

        Each instance has a separate router: routes nested into it are served by no other.
        """
        bound = super().__get__(instance, owner)
        assert isinstance(bound, Router)
        if instance is not None and self._attribute:
            bound._endpoints = dict(self._endpoints)
            rules = [rule.empty() for rule in self._url_map.iter_rules()]
            bound._url_map = Map(rules, merge_slashes=False, converters=_CONVERTERS)
            vars(instance)[self._attribute] = bound
        return bound

    # --- typed ---

    def get(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of GET and HEAD; see :class:`Declaration`."""
        return self._typed("GET", url, declared)

    def post(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of POST; see :class:`Declaration`."""
        return self._typed("POST", url, declared)

    def put(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of PUT; see :class:`Declaration`."""
        return self._typed("PUT", url, declared)

    def patch(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of PATCH; see :class:`Declaration`."""
        return self._typed("PATCH", url, declared)

    def delete(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of DELETE; see :class:`Declaration`."""
        return self._typed("DELETE", url, declared)

    def _typed(self, method: str, url: str, declared: Declaration) -> Callable[[Handler], Handler]:
        _check_names_in(url)

        def decorate(handler: Handler) -> Handler:
            operation = read_operation(handler, self._names_in(url), declared)
            if method == "GET" and operation.body is not None:
                name = operation.body.argument
                raise signature_error(
                    handler,
                    f"a GET has no body for {name}: use POST, or take its fields one by one",
                )
            endpoint = make_endpoint(handler, operation)
            self._register(url, handler.__name__, endpoint, operation, methods=[method])
            return handler

        return decorate

    def _names_in(self, url: str) -> set[str]:
        """Return the names of the parameters in ``url`` and in its subroute's prefix."""
        rule = Rule(self._subroute + url)
        Map([rule], converters=self._converters)
        return rule.arguments

    # --- Klein's ---

    def route(
        self, url: str, *args: Any, result: Any = MISSING, is_documented: bool = True, **kwargs: Any
    ) -> Callable[[Handler], Handler]:
        """Return a decorator for a handler of ``url``; see :meth:`klein.Klein.route`.

        By default ``methods`` is GET, which includes HEAD.  ``result``, the type of the response,
        and the options of :class:`Declaration` are used only for the documentation, which leaves
        out an endpoint that isn't ``is_documented``.
        """
        _check_names_in(url)
        kwargs.setdefault("methods", ["GET"])
        declared = {name: kwargs.pop(name) for name in _DECLARABLE & kwargs.keys()}

        def decorate(handler: Handler) -> Handler:
            operation = describe(handler, result, declared) if is_documented else None  # type: ignore[arg-type]
            name = kwargs.pop("endpoint", handler.__name__)  # as Klein does
            self._register(url, name, handler, operation, *args, **kwargs)
            return handler

        return decorate

    def _register(
        self,
        url: str,
        name: str,
        handler: Callable[..., Any],
        operation: Operation | None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().route(url, *args, endpoint=name, **kwargs)(handler)
        klein_endpoint: Any = self._endpoints[name]
        self._endpoints[name] = Endpoint(
            klein_endpoint.__name__, handler, klein_endpoint.segment_count, operation
        )

    # --- nesting ---

    @contextmanager
    def subroute(self, prefix: str) -> Iterator[Klein]:
        """Prepend ``prefix`` to all paths in the block; see :meth:`klein.Klein.subroute`."""
        outer, self._subroute = self._subroute, self._subroute + prefix
        try:
            with super().subroute(prefix):
                yield self
        finally:
            self._subroute = outer

    def nest(self, prefix: str, router: Klein) -> Router:
        """Serve the routes of ``router`` below ``prefix`` and return ``self``.

        Its route ``/`` becomes ``prefix`` itself.  A prefix may have parameters, as in
        ``/teams/<int:team_id>``.  Raises :class:`TypeError` for a handler that doesn't accept them.

        Several routers may have the same prefix.  Raises :class:`ValueError` for a prefix that
        isn't a path, for a route that is served already, and for a router with error handlers:
        they would apply to all routers, so a feature raises :class:`~x121.errors.AppError` instead.
        """
        _check_names_in(prefix)
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"invalid prefix {prefix!r}: expected a path such as /projects")
        refuse_error_handlers(router, prefix)
        rules = [_nested_rule(prefix, rule) for rule in router.url_map.iter_rules()]
        self._check_unserved(rules)
        adopted = {name: self._adopt(prefix, router, name) for name in router.endpoints}
        for rule in rules:
            rule.endpoint = adopted[rule.endpoint]
            self._url_map.add(rule)
        return self

    def _check_unserved(self, rules: list[Rule]) -> None:
        """Raise :class:`ValueError` if a method and path of ``rules`` is served already."""
        # Within Klein's subroute() the map can't be iterated.
        present = self._url_map.iter_rules() if isinstance(self._url_map, Map) else ()
        served = {request: rule.endpoint for rule in present for request in _served(rule)}
        for rule in rules:
            for method, path in _served(rule):
                if (method, path) in served:
                    first = served[method, path]
                    raise ValueError(f"{method} {rule.rule}: {first} serves this route already")

    def _adopt(self, prefix: str, router: Klein, name: str) -> str:
        """Add an endpoint of ``router``, bound to its instance, and return its new name."""
        endpoint = f"{prefix[1:]}.{name}"
        if endpoint in self._endpoints:  # of another router with this prefix
            endpoint = f"{prefix[1:]}.{type(instance_of(router)).__name__}.{name}"
        if endpoint in self._endpoints:
            raise ValueError(f"{prefix}: a route named {endpoint} exists already")
        original: Any = router.endpoints[name]
        handler = bound_handler(router, name)
        operation: Operation | None = getattr(original, "operation", None)
        names = self._names_in(prefix)
        if names:
            check_prefix(handler, operation, prefix, names)
            operation = operation and operation.below(names)
        self._endpoints[endpoint] = Endpoint(
            endpoint,
            handler,
            original.segment_count + prefix.count("/") + self._subroute_segments,
            operation,
            getattr(original, "owner", None) or instance_of(router),
            is_bound=True,
        )
        return endpoint


_DECLARABLE = Declaration.__annotations__.keys()


def _up_to(limit: int) -> str:
    """Return a regular expression for integers up to ``limit``, which has several digits."""
    digits = str(limit)
    smaller = (
        f"{digits[:i]}[0-{int(digit) - 1}][0-9]{{{len(digits) - i - 1}}}"
        for i, digit in enumerate(digits)
        if digit != "0"
    )
    return "|".join([f"[0-9]{{1,{len(digits) - 1}}}", *smaller, digits])


class _BigInt(IntegerConverter):
    """Converter of ``<int:name>``: the range of ``BIGINT``.  Anything else matches no route: 404.

    If the regular expression matched and the converter then rejected the value, the response would
    be 405 where the path has several methods.
    """

    regex = _up_to(2**63 - 1)


_CONVERTERS = {"int": _BigInt}


def _check_names_in(url: str) -> None:
    """Raise :class:`ValueError` for ``{name}``, which would match only itself."""
    outside = re.sub("<[^>]*>", "", url)
    if _NAME_IN_BRACES.search(outside):
        right = _NAME_IN_BRACES.sub(r"<\1>", url)
        raise ValueError(
            f"invalid path {url}: expected <name> instead of {{name}}, as in {right}"
            " (<int:name> for a number)"
        )


def _nested_rule(prefix: str, rule: Rule) -> Rule:
    nested = rule.empty()
    nested.rule = prefix + ("" if rule.rule == "/" else rule.rule)
    return nested


def _served(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the methods and paths of a rule, without the names of its parameters."""
    path = re.sub(r"<(?:([^:<>]+):)?[^:<>]+>", r"<\1>", rule.rule)
    for method in rule.methods or {"*"}:
        yield method, path
