"""Random maps of routes, and paths that may be theirs."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from werkzeug.routing import BaseConverter, Map, Rule

__all__ = ["METHODS", "PLAIN_MAPS", "RANDOM_MAPS", "paths"]

_UUID = "01234567-89ab-cdef-0123-456789abcdef"


class _Grouped(BaseConverter):
    """A converter whose expression has a group of its own."""

    regex = "(a|b)+"


class _Picky(BaseConverter):
    """One that refuses some of what it matches, with an exception of its own."""

    def to_python(self, value: str) -> str:
        if value == "b":
            raise LookupError(value)
        return value.upper()


class _Slashed(BaseConverter):
    """One that matches several segments, and is tried early."""

    regex = "[ab]/[ab]"
    weight = 20


_CONVERTERS = {"grouped": _Grouped, "picky": _Picky, "slashed": _Slashed}

_STATIC = ["a", "b", "ü", "a.b", "1", "%61", "*"]
_WHOLE = ["<{}>", "<int:{}>", "<int(max=41):{}>", "<any(a,b):{}>", "<string(length=2):{}>"]
_RARE = [
    *("<float:{}>", "<uuid:{}>", "<int(signed=True):{}>", "<int(fixed_digits=2):{}>"),
    *("v<int:{}>", "<int:{}>.json", "<{}>.<{}>", "<picky:{}>"),
]
_HARD = ["<path:{}>", "<slashed:{}>", "<grouped:{}>", "<path:{}>.json", ""]
_SEGMENTS = ["a", "b", "ü", "1", "2", "42", "042", "-1", "1.5", "ab", "a.b", "v1", "1.json", _UUID]
_SEGMENTS += ["", "*", "%61", "a b", "9" * 20, "٣"]

_FITTING = {
    "int": ["1", "42", "041", "9" * 20],
    "any": ["a", "b"],
    "string": ["ab", "v1"],
    "float": ["1.5"],
    "uuid": [_UUID],
    "path": ["a", "a/b", "1/2/3"],
    "slashed": ["a/b"],
    "grouped": ["ab"],
    "picky": ["a", "b"],
}
"""What matches the converters whose names are these."""

METHODS = st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "get", "X"])
_RARELY = st.integers(0, 15).map(lambda number: number == 15)
_ROUTE_METHODS = st.sampled_from([None, ["GET"], ["GET"], ["POST"], ["PUT", "DELETE"]])


def _text(segments: list[str]) -> str:
    names = iter("klmnopqrstuvwxyz")
    return re.sub(r"\{\}", lambda _: next(names), "/" + "/".join(segments))


def _texts(segments: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(segments), min_size=1, max_size=4).map(_text)


@st.composite
def _plain_rules(draw: st.DrawFn) -> Rule:
    text = draw(_texts(_STATIC * 2 + _WHOLE * 2 + _RARE))
    return Rule(text, methods=draw(_ROUTE_METHODS), endpoint=draw(st.sampled_from("ABCDEF")))


@st.composite
def _rules(draw: st.DrawFn) -> Rule:
    text = draw(_texts(_STATIC * 3 + _WHOLE * 4 + _RARE + _HARD))
    text += draw(st.sampled_from(["", "", "/"]))
    defaults: list[dict[str, Any] | None] = [None, {"z": 7}]
    if "any" not in text:  # whose default must be one of those that there are
        defaults.append({"k": "1"})
    return Rule(
        text,
        methods=draw(_ROUTE_METHODS),
        endpoint=draw(st.sampled_from("ABC")),
        defaults=draw(st.sampled_from(defaults)) if draw(_RARELY) else None,
        strict_slashes=draw(st.sampled_from([None, None, True, False])),
        merge_slashes=draw(st.sampled_from([None, None, True, False])),
        redirect_to="elsewhere" if draw(_RARELY) else None,
        alias=draw(_RARELY),
        build_only=draw(_RARELY),
    )


_ODD_RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Rule, st.just("/a"), websocket=st.just(True), endpoint=st.just("A")),
    st.builds(Rule, st.just("/<k>"), websocket=st.just(True), endpoint=st.just("A")),
    st.builds(Rule, st.just("/a"), subdomain=st.just("www"), endpoint=st.just("A")),
    st.builds(Rule, st.just("/<k>"), subdomain=st.just("<l>"), endpoint=st.just("A")),
)

PLAIN_MAPS = st.lists(_plain_rules(), min_size=1, max_size=12).map(
    lambda rules: Map(rules, converters=_CONVERTERS, merge_slashes=False)
)
"""Maps of routes as features have them: no redirects, and one segment a converter."""


@st.composite
def _random_maps(draw: st.DrawFn) -> Map:
    kinds = st.one_of(*[_rules()] * 5, *[_plain_rules()] * 4, _ODD_RULES)
    return Map(
        draw(st.lists(kinds, min_size=2, max_size=10)),
        converters=_CONVERTERS,
        merge_slashes=draw(st.booleans()),
        strict_slashes=draw(st.sampled_from([True, True, False])),
        redirect_defaults=draw(st.booleans()),
        default_subdomain="www" if draw(_RARELY) else "",
        host_matching=draw(_RARELY),
    )


RANDOM_MAPS = _random_maps()
"""Maps of every kind that werkzeug knows."""


@st.composite
def paths(draw: st.DrawFn, url_map: Map) -> str:
    """Return a strategy of decoded paths: of a rule's form, nearly so, or of none."""
    anything = "/" + "/".join(draw(st.lists(st.sampled_from(_SEGMENTS), max_size=5)))
    rules = [rule.rule for rule in url_map.iter_rules()]
    if not rules or draw(st.integers(0, 3)) == 0:
        path = anything
    else:

        def fill(variable: re.Match[str]) -> str:
            fitting = _FITTING.get(variable[1], _SEGMENTS)
            return draw(st.sampled_from([*fitting * 4, "a", "1", ""]))

        path = re.sub("<([a-z]*)[^>]*>", fill, draw(st.sampled_from(rules)))
        path = draw(st.sampled_from([path, path, path + "/", path.rstrip("/"), path + anything]))
    return "/" + path.lstrip("/")  # werkzeug takes // for it
