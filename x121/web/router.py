"""Routes: Klein's, nested into one werkzeug map so that a request is matched once.

A feature is a class with a ``router``; its methods are handlers and its state is ``self``::

    class Projects:
        router = Router()

        def __init__(self, state: AppState) -> None:
            self._pool = state.pool

        @router.get("/<int:project_id>", errors=[NotFound])
        async def show(self, project_id: Id) -> Project: ...

    Router().nest("/projects", Projects(state).router)

``get``, ``post``, ``put``, ``patch`` and ``delete`` are typed: see :mod:`x121.web.operations`.
With ``route`` a handler is Klein's: given its request, it answers it by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack

from klein import Klein
from werkzeug.routing import IntegerConverter, Map, Rule

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
    """A Klein application that other ones can be nested into."""

    def __init__(self) -> None:
        super().__init__()
        # A path is what it is: two slashes are not one, and nobody is redirected for them.
        self._url_map = Map(merge_slashes=False, converters=_CONVERTERS)
        self._attribute = ""
        self._converters = self._url_map.converters
        self._subroute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Note the attribute that this is."""
        self._attribute = name

    def __get__(self, instance: Any, owner: object) -> Router:
        """Return the router whose handlers are called on ``instance``.

        It is the instance's own: what is nested into it is served by no other instance.
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
        """Return a decorator for what answers GET and HEAD; see :class:`Declaration`."""
        return self._typed("GET", url, declared)

    def post(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for what answers POST; see :class:`Declaration`."""
        return self._typed("POST", url, declared)

    def put(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for what answers PUT; see :class:`Declaration`."""
        return self._typed("PUT", url, declared)

    def patch(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for what answers PATCH; see :class:`Declaration`."""
        return self._typed("PATCH", url, declared)

    def delete(self, url: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Return a decorator for what answers DELETE; see :class:`Declaration`."""
        return self._typed("DELETE", url, declared)

    def _typed(self, method: str, url: str, declared: Declaration) -> Callable[[Handler], Handler]:
        _check_names_in(url)

        def decorate(handler: Handler) -> Handler:
            operation = read_operation(handler, self._names_in(url), declared)
            endpoint = make_endpoint(handler, operation)
            self._register(url, handler.__name__, endpoint, operation, methods=[method])
            return handler

        return decorate

    def _names_in(self, url: str) -> set[str]:
        """Return the names of the parameters in ``url`` and in the subroute that it is in."""
        rule = Rule(self._subroute + url)
        Map([rule], converters=self._converters)
        return rule.arguments

    # --- Klein's ---

    def route(
        self, url: str, *args: Any, result: Any = MISSING, is_documented: bool = True, **kwargs: Any
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that serves ``url``; see :meth:`klein.Klein.route`.

        It answers GET, and with it HEAD, unless ``methods`` says otherwise.  ``result`` is the type
        of what the handler answers, and what a :class:`Declaration` has may be given too: both for
        the documentation alone, which an endpoint that isn't ``is_documented`` doesn't stand in.
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
        made: Any = self._endpoints[name]
        self._endpoints[name] = Endpoint(made.__name__, handler, made.segment_count, operation)

    # --- nesting ---

    @contextmanager
    def subroute(self, prefix: str) -> Iterator[Klein]:
        """Have ``prefix`` before all paths of the block; see :meth:`klein.Klein.subroute`."""
        outer, self._subroute = self._subroute, self._subroute + prefix
        try:
            with super().subroute(prefix):
                yield self
        finally:
            self._subroute = outer

    def nest(self, prefix: str, router: Klein) -> Router:
        """Serve the routes of ``router`` below ``prefix`` and return ``self``.

        Its route ``/`` is ``prefix`` itself.  A prefix may have parameters, as in
        ``/teams/<int:team_id>``; every handler takes them, or it is a :class:`TypeError`.

        Several routers may have one prefix.  Raises :class:`ValueError` for a prefix that isn't a
        path, for a route that is served already, and for a router with error handlers: they would
        be everybody's, so a feature raises :class:`~x121.errors.AppError` instead.
        """
        _check_names_in(prefix)
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"a prefix is like /projects, not {prefix!r}")
        refuse_error_handlers(router, prefix)
        rules = [_nested_rule(prefix, rule) for rule in router.url_map.iter_rules()]
        self._check_unserved(rules)
        adopted = {name: self._adopt(prefix, router, name) for name in router.endpoints}
        for rule in rules:
            rule.endpoint = adopted[rule.endpoint]
            self._url_map.add(rule)
        return self

    def _check_unserved(self, rules: list[Rule]) -> None:
        """Raise :class:`ValueError` if one of ``rules`` is for what is served already."""
        # Within Klein's subroute() the map can only be added to.
        known = self._url_map.iter_rules() if isinstance(self._url_map, Map) else ()
        served = {request: rule.endpoint for rule in known for request in _served(rule)}
        for rule in rules:
            for method, path in _served(rule):
                if (method, path) in served:
                    first = served[method, path]
                    raise ValueError(f"{method} {rule.rule}: served already, by {first}")

    def _adopt(self, prefix: str, router: Klein, name: str) -> str:
        """Take over a handler of ``router``, on the instance that it is bound to.

        Return its name here.
        """
        endpoint = f"{prefix[1:]}.{name}"
        if endpoint in self._endpoints:  # of another router with this prefix
            endpoint = f"{prefix[1:]}.{type(instance_of(router)).__name__}.{name}"
        if endpoint in self._endpoints:
            raise ValueError(f"{prefix}: there already is a route named {endpoint}")
        known: Any = router.endpoints[name]
        handler = bound_handler(router, name)
        operation: Operation | None = getattr(known, "operation", None)
        names = self._names_in(prefix)
        if names:
            check_prefix(handler, operation, prefix, names)
            operation = operation and operation.below(names)
        self._endpoints[endpoint] = Endpoint(
            endpoint,
            handler,
            known.segment_count + prefix.count("/") + self._subroute_segments,
            operation,
            getattr(known, "owner", None) or instance_of(router),
            is_bound=True,
        )
        return endpoint


_DECLARABLE = Declaration.__annotations__.keys()


def _up_to(limit: int) -> str:
    """Return a regular expression of whole numbers up to ``limit``, which has several digits."""
    digits = str(limit)
    smaller = (
        f"{digits[:i]}[0-{int(digit) - 1}][0-9]{{{len(digits) - i - 1}}}"
        for i, digit in enumerate(digits)
        if digit != "0"
    )
    return "|".join([f"[0-9]{{1,{len(digits) - 1}}}", *smaller, digits])


class _BigInt(IntegerConverter):
    """``<int:name>``: what a ``BIGINT`` can hold.  Anything else matches no route: 404.

    What an expression matches and a converter then refuses would be 405 where the path has
    several methods.
    """

    regex = _up_to(2**63 - 1)


_CONVERTERS = {"int": _BigInt}


def _check_names_in(url: str) -> None:
    """Raise :class:`ValueError` for ``{name}``, which would match nothing but itself."""
    outside = re.sub("<[^>]*>", "", url)
    if _NAME_IN_BRACES.search(outside):
        right = _NAME_IN_BRACES.sub(r"<\1>", url)
        raise ValueError(f"{url}: a name in a path is written as in {right}; <int:...> is a number")


def _nested_rule(prefix: str, rule: Rule) -> Rule:
    nested = rule.empty()
    nested.rule = prefix + ("" if rule.rule == "/" else rule.rule)
    return nested


def _served(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield the methods and paths that a rule is for, whatever its parameters are called."""
    path = re.sub(r"<(?:([^:<>]+):)?[^:<>]+>", r"<\1>", rule.rule)
    for method in rule.methods or {"*"}:
        yield method, path
