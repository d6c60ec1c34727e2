"""Finding a rule: what werkzeug finds, or nothing but the advice to ask it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule

from tests.web.maps import METHODS, PLAIN_MAPS, RANDOM_MAPS, paths
from x121.web.rule_tree import RuleTree

Find = Callable[[str, str], tuple[Rule, Any]]


def outcome(find: Find, path: str, method: str) -> tuple[Any, ...]:
    """Return what can be seen of a search."""
    try:
        rule, arguments = find(path, method)
    except MethodNotAllowed as exception:
        return ("MethodNotAllowed", set(exception.valid_methods or ()))
    except RequestRedirect as exception:
        return ("RequestRedirect", exception.new_url)
    except Exception as exception:
        return (type(exception).__name__,)
    return ("found", id(rule), dict(arguments))


def by_werkzeug(url_map: Map) -> Find:
    """Return how werkzeug finds a rule, to which methods of another case are another."""
    adapter = url_map.bind("")

    def find(path: str, method: str) -> tuple[Rule, Any]:
        known = method if method == method.upper() else f"({method})"
        return adapter.match(path, known, return_rule=True)

    return find


class LikeWerkzeugTests(SynchronousTestCase):
    def compare(self, url_map: Map, path: str, method: str) -> str:
        found = outcome(RuleTree(url_map).match, path, method)
        kind: str = found[0]
        event(kind)
        if kind != "NotDecidable":
            self.assertEqual(found, outcome(by_werkzeug(url_map), path, method), path)
        return kind

    @given(st.data(), METHODS)
    @settings(max_examples=200)
    def test_any_map(self, data: st.DataObject, method: str) -> None:
        """Of whatever map, it finds what werkzeug finds, or is unsure."""
        url_map = data.draw(RANDOM_MAPS)
        for path in data.draw(st.lists(paths(url_map), min_size=3, max_size=6)):
            self.compare(url_map, path, method)

    @given(st.data(), METHODS)
    @settings(max_examples=200)
    def test_plain_maps(self, data: st.DataObject, method: str) -> None:
        """Of routes as features have them, it is always sure."""
        url_map = data.draw(PLAIN_MAPS)
        for path in data.draw(st.lists(paths(url_map), min_size=3, max_size=6)):
            self.assertNotEqual(self.compare(url_map, path, method), "NotDecidable", path)
