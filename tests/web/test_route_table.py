"""From a path and a method as they stand in a request to a route."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from itertools import product
from typing import Any
from urllib.parse import unquote_to_bytes

from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule

from tests.web.maps import METHODS, PLAIN_MAPS, RANDOM_MAPS, paths
from x121.web.route_table import RouteTable
from x121.web.rule_tree import RuleTree

Find = Callable[[bytes, bytes], tuple[str, Any]]


def table(url_map: Map) -> RouteTable[str]:
    """Return a table whose targets are the names of endpoints."""
    return RouteTable(url_map, {rule.endpoint: rule.endpoint for rule in url_map.iter_rules()})


def by_the_book(url_map: Map) -> Find:
    """Return how a route is found segment by segment, with werkzeug alone."""
    adapter = url_map.bind("")

    def find(path: bytes, method: bytes) -> tuple[str, Any]:
        segments = [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]
        if path.startswith(b"//") or any(b"/" in segment for segment in segments):
            raise NotFound
        known = method.decode()
        known = known if known == known.upper() else f"({known})"
        text = b"/" + b"/".join(segments)
        endpoint, arguments = adapter.match(text.decode(), known)
        return endpoint, dict(arguments)

    return find


def outcome(find: Find, path: bytes, method: bytes) -> tuple[Any, ...]:
    """Return what can be seen of a search."""
    try:
        endpoint, arguments = find(path, method)
    except MethodNotAllowed as exception:
        return ("MethodNotAllowed", set(exception.valid_methods or ()))
    except RequestRedirect as exception:
        return ("RequestRedirect", exception.new_url)
    except Exception as exception:
        return (type(exception).__name__,)
    return ("found", endpoint, arguments)


class Grouped(BaseConverter):
    """A converter whose expression has a group of its own."""

    regex = "(a|b)+"


class AnyOrNone(BaseConverter):
    """One that matches nothing, too."""

    regex = "w*"


CONVERTERS = {"grouped": Grouped, "any_or_none": AnyOrNone}
DEFAULTS: dict[str, Any] = {"merge_slashes": False, "converters": CONVERTERS}

A = functools.partial(Rule, endpoint="A")
B = functools.partial(Rule, endpoint="B")
GET: dict[str, Any] = {"methods": ["GET"]}
POST: dict[str, Any] = {"methods": ["POST"]}

TRAPS: list[tuple[list[Rule], dict[str, Any], bytes, bytes]] = [
    ([A("/a/b")], {"merge_slashes": True}, b"/a//b", b"GET"),
    ([A("/a")], {"default_subdomain": "www"}, b"/a", b"GET"),
    ([A("/a", subdomain="www"), B("/a")], {"default_subdomain": "www"}, b"/a", b"GET"),
    ([A("/a", subdomain="")], {"default_subdomain": "www"}, b"/a", b"GET"),
    ([A("/b"), B("/a", subdomain="<any_or_none:k>")], {}, b"/a", b"GET"),
    ([A("/a", host="")], {"host_matching": True}, b"/a", b"GET"),
    ([A("/<grouped:k>/<l>")], {}, b"/ab/c", b"GET"),
    ([A("/<grouped:k>.<l>")], {}, b"/ab.c", b"GET"),
    # Redirects: to the rule that has another for its alias, or a default for its argument.
    ([A("/a/<k>"), A("/b/<k>", alias=True)], {}, b"/b/7", b"GET"),
    ([A("/a"), A("/b", alias=True)], {"redirect_defaults": False}, b"/b", b"GET"),
    ([A("/a/", defaults={"k": 1}), A("/a/<int:k>")], {}, b"/a/1", b"GET"),
    ([A("/a/", defaults={"k": 1}), A("/a/<int:k>")], {}, b"/a/2", b"GET"),
    ([A("/a", redirect_to="b"), B("/a")], {}, b"/a", b"GET"),
    # Defaults, with an argument in the path and without.
    ([A("/a", defaults={"k": 1})], {}, b"/a", b"GET"),
    ([A("/a/<l>", defaults={"k": 1})], {}, b"/a/b", b"GET"),
    # The first of the rules that have the method, of which one without methods has all.
    ([A("/a", **GET), B("/a", **GET)], {}, b"/a", b"GET"),
    ([A("/a", **POST), B("/a", **GET)], {}, b"/a", b"GET"),
    ([A("/a"), B("/a", methods=["PURGE"])], {}, b"/a", b"PURGE"),
    ([A("/a", methods=[]), B("/a")], {}, b"/a", b"GET"),
    # Slashes at the end.
    ([A("/a", strict_slashes=False, **GET), B("/a/", **POST)], {}, b"/a/", b"GET"),
    ([A("/a/", strict_slashes=False)], {}, b"/a", b"GET"),
    ([A("/a/", **GET)], {}, b"/a", b"POST"),
    ([A("/a/<k>/", **GET), B("/a/<k>", **POST)], {}, b"/a/b", b"GET"),
    # What looks like the path in a request, and isn't.
    ([A("/%61"), B("/a")], {}, b"/%61", b"GET"),
    ([A("/%61")], {}, b"/%2561", b"GET"),
    ([A("//a")], {}, b"//a", b"GET"),
]


@st.composite
def raw_paths(draw: st.DrawFn, url_map: Map) -> bytes:
    """Return a strategy of paths in requests: some characters are encoded, and some must be."""
    seldom = st.integers(0, 9).map(lambda number: number == 9)
    path = draw(paths(url_map)) if not draw(seldom) else "/" + draw(paths(url_map))
    encode = {character for character in set(path[1:]) if draw(seldom)} | {"%", " "}
    return (
        b"/"
        + "".join(
            "".join(f"%{byte:02X}" for byte in one.encode()) if one in encode else one
            for one in path[1:]
        ).encode()
    )


class FindTests(SynchronousTestCase):
    @given(st.data(), METHODS)
    @settings(max_examples=200)
    def test_any_path(self, data: st.DataObject, method: str) -> None:
        """Whatever the map and the path, what is found is what is by the book."""
        url_map = data.draw(st.one_of(PLAIN_MAPS, RANDOM_MAPS))
        for path in data.draw(st.lists(raw_paths(url_map), min_size=3, max_size=6)):
            found = outcome(table(url_map).find, path, method.encode())
            event(found[0])
            self.assertEqual(found, outcome(by_the_book(url_map), path, method.encode()), path)

    def test_traps(self) -> None:
        """Where a rule isn't simply the one that matches, what is found is by the book, too."""
        for rules, options, path, method in TRAPS:
            url_map = Map([rule.empty() for rule in rules], **{**DEFAULTS, **options})
            found = outcome(table(url_map).find, path, method)
            self.assertEqual(found, outcome(by_the_book(url_map), path, method), (rules, path))

    def test_the_server_as_a_whole(self) -> None:
        """``*`` has the methods of every path, and is no path, not even of a rule of its name."""
        found = outcome(table(Map([Rule("/*", endpoint="A")])).find, b"*", b"OPTIONS")
        self.assertEqual(found[0], "MethodNotAllowed")
        self.assertEqual(found[1], {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

    def test_what_a_proxy_tells_apart(self) -> None:
        """Two slashes, an encoded one and another case of the method lead nowhere."""
        rule = Rule("/a/b", endpoint="A", methods=["GET"])
        find = table(Map([rule], merge_slashes=False)).find
        self.assertEqual(find(b"/a/b", b"GET"), ("A", {}))
        self.assertEqual(find(b"/%61/b", b"GET"), ("A", {}))
        for path in (b"//a/b", b"/a//b", b"/%2Fa/b", b"/a%2fb", b"/a/%2F/b"):
            self.assertRaises(NotFound, find, path, b"GET")
        for method in (b"get", b"Get", b"POST"):
            self.assertRaises(MethodNotAllowed, find, b"/a/b", method)


def calls_of(find: Find, path: bytes) -> int:
    """Return how many calls a search makes."""
    calls = 0

    def count(frame: object, kind: str, argument: object) -> None:
        nonlocal calls
        calls += kind in ("call", "c_call")

    sys.setprofile(count)
    try:
        outcome(find, path, b"GET")
    finally:
        sys.setprofile(None)
    return calls


class HostilePathTests(SynchronousTestCase):
    PATHS = (b"/" * 8000, b"/a" * 4000, b"/1" * 4000, b"/a/1" + b"/" * 8000, b"/" + b"9" * 8000)

    def test_many_segments(self) -> None:
        """A path of thousands of segments costs no more calls than one of a few."""
        rules = [Rule("/<k>/<int:l>/a", endpoint="A"), Rule("/a/<path:k>/b", endpoint="B")]
        for some in (rules[:1], rules):
            find = table(Map([rule.empty() for rule in some], merge_slashes=False)).find
            usual = max(calls_of(find, path) for path in (b"/a/1/a", b"/a/1/b", b"/a/1/c"))
            for path in self.PATHS:
                self.assertLess(calls_of(find, path), 2 * usual, path[:10])

    def test_is_not_split(self) -> None:
        """Of a longer path than any rule's, the rest is left in one piece."""

        class Path(str):
            pieces = 0

            def split(self, *arguments: Any) -> list[str]:
                parts = super().split(*arguments)
                self.pieces = len(parts)
                return parts

        path = Path("/a" * 4000)
        self.assertRaises(NotFound, RuleTree(Map([A("/a/<k>")])).match, path, "GET")
        self.assertEqual(path.pieces, 4)

    def test_many_ways(self) -> None:
        """Every rule is tried once at most, however many of them begin alike."""
        ways = [["<k{}>", "<any(a,b):k{}>", "a"]] * 5
        rules = [
            Rule("/" + "/".join(way).format(*range(5)), endpoint="A", methods=["GET"])
            for way in product(*ways)
        ]
        find = table(Map(rules, merge_slashes=False)).find
        self.assertEqual(outcome(find, b"/a/a/a/a/c/", b"GET"), ("NotFound",))
        self.assertLess(calls_of(find, b"/a/a/a/a/c/"), 10 * len(rules))
