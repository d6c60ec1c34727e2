"""Rule tree: matches a path against a werkzeug map, as werkzeug does, in a fraction of its time.

werkzeug compiles its rules into a tree of states, with one level per segment of the path.  It
walks the tree for every request through closures, copies of lists and lookups of regular
expressions.  The tree here is a copy of that one, built once, with everything looked up in
advance.  It is walked in the same order (a static segment before converters, converters by their
weight) with werkzeug's own regular expressions and converters.

Rare cases are left to werkzeug: converters that match slashes, all redirects, rules for hosts and
WebSockets.  So a result is always werkzeug's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.routing.converters import BaseConverter, ValidationError
from werkzeug.routing.matcher import State
from werkzeug.routing.rules import RulePart

__all__ = ["NotDecidable", "RuleTree", "converters_of", "parts_of"]

Values = tuple[str, ...]
Allowed = list[frozenset[str]]


def converters_of(rule: Rule) -> dict[str, BaseConverter]:
    """Return the converters of a rule that is in a map, by the names of its parameters."""
    return rule._converters


def parts_of(rule: Rule) -> list[tuple[bool, str]]:
    """Return the parts of a rule's path, each with True for a parameter; the rule is in a map."""
    return rule._trace[rule._trace.index((False, "|")) + 1 :]  # the host comes before it


class NotDecidable(Exception):
    """The tree can't match this path; werkzeug has to."""


class RuleTree:
    """Tree of the rules that ``url_map`` has now."""

    def __init__(self, url_map: Map) -> None:
        url_map.update()
        root = url_map._matcher._root
        without_host = root.static.get("")
        hosts_matter = url_map.host_matching or url_map.default_subdomain or root.dynamic
        self._top = None if hosts_matter or without_host is None else _Node(without_host)
        self._merges_slashes = url_map.merge_slashes
        # No route has more segments, so the rest of a longer path isn't split.
        self._max_splits = 0 if self._top is None else self._top.height()

    def match(self, path: str, method: str) -> tuple[Rule, dict[str, Any]]:
        """Return the rule for ``path``, which is decoded and begins with one slash.

        Raises what werkzeug would raise (:class:`NotFound`, :class:`MethodNotAllowed`, the
        exceptions of converters), and :class:`NotDecidable` where werkzeug has to match.
        """
        if self._top is None or (self._merges_slashes and "//" in path):
            raise NotDecidable
        allowed: Allowed = []
        parts = path.split("/", self._max_splits)
        match = self._top.find(parts, 0, (), method, allowed)
        if match is not None:
            leaf, values = match
            arguments = {}
            try:
                for value, (name, convert) in zip(values, leaf.converters, strict=True):
                    arguments[name] = convert(value)
                if leaf.defaults:
                    arguments.update(leaf.defaults)
                return leaf.rule, arguments
            except ValidationError:
                pass  # werkzeug tries no other rule either
        if allowed:
            raise MethodNotAllowed(valid_methods=list(frozenset().union(*allowed)))
        raise NotFound

    def static(self) -> Iterator[tuple[str, Rule]]:
        """Yield the paths of rules without converters, each with its rules in order.

        A request for such a path matches the first of them that has its method.  The rules of a
        path end before the first that may redirect.
        """
        if self._top is not None:
            yield from self._top.static_rules(())


class _Leaf(NamedTuple):
    """A rule at the node where its path ends."""

    rule: Rule
    methods: frozenset[str] | None
    is_sure: bool
    converters: tuple[tuple[str, Callable[[str], Any]], ...]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, rule: Rule) -> _Leaf:
        methods = None if rule.methods is None else frozenset(rule.methods)
        converters = (
            (str(name), converter.to_python) for name, converter in converters_of(rule).items()
        )
        defaults = dict(rule.defaults or {})
        return cls(rule, methods, _is_sure(rule), tuple(converters), defaults)


def _is_sure(rule: Rule) -> bool:
    """Return True if every request that the rule matches is served, and none is redirected."""
    siblings = rule.map.iter_rules(rule.endpoint)
    may_be_redirected = rule.map.redirect_defaults and (
        rule.alias or any(other.provides_defaults_for(rule) for other in siblings)
    )
    return not (may_be_redirected or rule.websocket or rule.redirect_to is not None)


class _Node:
    """A state of werkzeug's: the possible rests of a path."""

    __slots__ = (
        *("dynamic", "has_choice", "leaves", "may_add_slash", "may_drop_slash"),
        *("only", "static"),
    )

    def __init__(self, state: State) -> None:
        self.static = {segment: _Node(child) for segment, child in state.static.items()}
        self.dynamic = [(_matcher(part), _Node(child)) for part, child in state.dynamic]
        self.leaves = [_Leaf.of(rule) for rule in state.rules]
        self.may_add_slash = "" in state.static
        self.may_drop_slash = any(not rule.strict_slashes for rule in state.rules)
        self.has_choice = bool(self.dynamic) or self.may_drop_slash
        self.only = None
        """The only converter and its child, where no other alternative is left for a segment."""
        if len(self.dynamic) == 1 and not self.may_drop_slash:
            match, child = self.dynamic[0]
            self.only = None if match is None else (match, child)

    def find(
        self, parts: list[str], at: int, values: Values, method: str, allowed: Allowed
    ) -> tuple[_Leaf, Values] | None:
        """Return the rule for ``parts[at:]`` and the values of its converters, None without one.

        The methods of rules that match except for their method are added to ``allowed``.
        """
        node = self
        while at < len(parts):
            part = parts[at]
            at += 1
            child = node.static.get(part)
            if node.has_choice:
                if child is not None or node.only is None:
                    return node._choose(child, parts, at, values, method, allowed)
                match, child = node.only
                matched = match(part)
                if matched is None:
                    return None
                values += matched.groups()
            elif child is None:
                return None
            node = child
        for leaf in node.leaves:
            if leaf.methods is not None and method not in leaf.methods:
                allowed.append(leaf.methods)
            elif leaf.is_sure:
                return leaf, values
            else:
                raise NotDecidable
        if node.may_add_slash:
            raise NotDecidable
        return None

    def _choose(
        self,
        child: _Node | None,
        parts: list[str],
        at: int,
        values: Values,
        method: str,
        allowed: Allowed,
    ) -> tuple[_Leaf, Values] | None:
        """Try the alternatives for the segment before ``at``, one after the other."""
        if child is not None:
            leaf = child.find(parts, at, values, method, allowed)
            if leaf is not None:
                return leaf
        part = parts[at - 1]
        for match, child in self.dynamic:
            if match is None:
                raise NotDecidable
            matched = match(part)
            if matched is not None:
                leaf = child.find(parts, at, values + matched.groups(), method, allowed)
                if leaf is not None:
                    return leaf
        if self.may_drop_slash and part == "" and at == len(parts):
            raise NotDecidable
        return None

    def height(self) -> int:
        """Return the number of segments in the longest rule from here on."""
        below = [*self.static.values(), *(child for _, child in self.dynamic)]
        return max((1 + child.height() for child in below), default=0)

    def static_rules(self, parts: tuple[str, ...]) -> Iterator[tuple[str, Rule]]:
        """Yield the rules reached without a converter; ``parts`` is the path to this node."""
        for leaf in self.leaves:
            if not leaf.is_sure or leaf.defaults:
                break
            yield "/".join(parts), leaf.rule
            if leaf.methods is None:
                break
        for segment, child in self.static.items():
            yield from child.static_rules((*parts, segment))


def _matcher(part: RulePart) -> Callable[[str], re.Match[str] | None] | None:
    """Return a matcher of one segment, or None if it may match more or has its own groups."""
    pattern = re.compile(part.content)
    if part.final or pattern.groups != part.content.count("(?P<__werkzeug_"):
        return None
    return pattern.match
