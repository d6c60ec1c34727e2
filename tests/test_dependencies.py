"""Private names of dependencies: each is used in one module, and is still there.

A test that fails names the place to look at, and the version that brought the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from klein import Klein, Response
from twisted.internet import _newtls, _resolver, asyncioreactor, tcp, unix
from twisted.web import http
from werkzeug.routing import Map, Rule
from werkzeug.routing.matcher import State, StateMachineMatcher

ROOT = Path(__file__).parents[1]


class Private(NamedTuple):
    """A private name of ``package``, the one module that uses it, and what it has to be."""

    package: str
    name: str
    place: str
    is_there: Callable[[], Any]


def in_map() -> Rule:
    rule = Rule("/items/<int:item_id>", endpoint="item")
    Map([rule])
    return rule


PRIVATE = (
    Private("twisted", "_newtls", "x121/reactor/transport.py", lambda: _newtls.startTLS),
    Private("twisted", "_resolver", "x121/reactor/lookups.py", lambda: _resolver.GAIResolver),
    Private("twisted", "_DataLoss", "x121/http/chunked.py", lambda: http._DataLoss),
    Private(
        "twisted",
        "_fromListeningDescriptor",
        "x121/reactor/reactor.py",
        lambda: [tcp.Port._fromListeningDescriptor, unix.Port._fromListeningDescriptor],
    ),
    Private(
        "twisted",
        "_asyncioEventloop",
        "x121/reactor/reactor.py",
        lambda: "_asyncioEventloop" in vars(asyncioreactor.AsyncioSelectorReactor()),
    ),
    Private(
        "twisted",
        "_reallyStartRunning",
        "x121/reactor/reactor.py",
        lambda: asyncioreactor.AsyncioSelectorReactor._reallyStartRunning,
    ),
    Private(
        "twisted",
        "_send100Continue",
        "x121/http/channel.py",
        lambda: http.HTTPChannel._send100Continue,
    ),
    Private("klein", "_endpoints", "x121/web/router.py", lambda: Klein()._endpoints == {}),
    Private("klein", "_url_map", "x121/web/router.py", lambda: isinstance(Klein()._url_map, Map)),
    Private(
        "klein",
        "_error_handlers",
        "x121/web/klein_compat.py",
        lambda: Klein()._error_handlers == [],
    ),
    Private("klein", "_applyToRequest", "x121/web/rendering.py", lambda: Response._applyToRequest),
    Private(
        "werkzeug",
        "_matcher",
        "x121/web/rule_tree.py",
        lambda: (
            isinstance(Map()._matcher, StateMachineMatcher)
            and isinstance(Map()._matcher._root, State)
        ),
    ),
    Private("werkzeug", "_converters", "x121/web/rule_tree.py", lambda: in_map()._converters),
    Private(
        "werkzeug",
        "_trace",
        "x121/web/rule_tree.py",
        lambda: in_map()._trace[-1] == (True, "item_id") and (False, "|") in in_map()._trace,
    ),
)


@pytest.mark.parametrize("private", PRIVATE, ids=lambda private: private.name)
def test_is_there(private: Private) -> None:
    """The name is there, and is what it was."""
    try:
        is_there = private.is_there()
    except AttributeError:
        is_there = None
    found = f"{private.package} {version(private.package)}"
    assert is_there, f"{private.name} has changed in {found}: see {private.place}"


@pytest.mark.parametrize("private", PRIVATE, ids=lambda private: private.name)
def test_is_used_in_one_place(private: Private) -> None:
    """One module uses the name, so that there is one place to change with it."""
    # Not our own attributes of the same name, which are those of self.
    pattern = re.compile(rf"(?<!self)\.{private.name}\b|import {private.name}\b")
    users = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("x121/**/*.py")
        if pattern.search(path.read_text("utf-8"))
    }
    assert users == {private.place}
