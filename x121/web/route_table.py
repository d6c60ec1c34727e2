"""Route table: finds the target for a request's path and method.

Two rules are stricter than werkzeug's, which matches one route under several names that a reverse
proxy treats as different: ``//x`` and ``/%2Fx`` are not ``/x``, and ``get`` is not ``GET``
(RFC 9110 section 9.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from x121.http.head import METHODS
from x121.web.rule_tree import NotDecidable, RuleTree

__all__ = ["RouteTable"]

T = TypeVar("T")


class RouteTable(Generic[T]):
    """Table of the rules that ``url_map`` has now, with the ``targets`` of their endpoints.

    ``adapter`` is the map, bound as werkzeug requires.
    """

    def __init__(self, url_map: Map, targets: Mapping[str, T]) -> None:
        self.adapter = url_map.bind("")
        self._targets = targets
        self._tree = RuleTree(url_map)
        self._static = self._static_routes()

    def _static_routes(self) -> dict[tuple[bytes, bytes], tuple[T, dict[str, Any]]]:
        """Return the routes without arguments, by the path and method as sent in requests."""
        routes: dict[tuple[bytes, bytes], tuple[T, dict[str, Any]]] = {}
        for path, rule in self._tree.static():
            if "%" in path or path.startswith("//"):  # requests have such a path in another form
                continue
            for method in METHODS if rule.methods is None else rule.methods:
                target = self._targets[rule.endpoint]
                routes.setdefault((path.encode(), method.encode()), (target, {}))
        return routes

    def find(self, path: bytes, method: bytes) -> tuple[T, dict[str, Any]]:
        """Return the target for a path, which is still percent-encoded, and its arguments.

        Raises what werkzeug raises: :class:`NotFound`, :class:`MethodNotAllowed`,
        :class:`RequestRedirect`, and the exceptions of converters.
        """
        static_route = self._static.get((path, method))
        if static_route is not None:
            return static_route
        if path == b"*":  # the server as a whole (RFC 9110 section 9.3.7)
            raise MethodNotAllowed(METHODS[:-1])
        if b"%" in path:
            if b"%2f" in path.lower():
                raise NotFound
            path = unquote_to_bytes(path)
        if path.startswith(b"//"):
            raise NotFound
        text = path.decode()
        try:
            rule, arguments = self._tree.match(text, method.decode("latin-1"))
        except NotDecidable:
            rule, arguments = self._match(text, method.decode("latin-1"))
        return self._targets[rule.endpoint], arguments

    def _match(self, path: str, method: str) -> tuple[Rule, dict[str, Any]]:
        # werkzeug ignores case: a method in lower case must match no rule.
        exact = method if method == method.upper() else f"({method})"
        rule, arguments = self.adapter.match(path, exact, return_rule=True)
        return rule, dict(arguments)
