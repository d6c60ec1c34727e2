"""Klein's own cases, which ship with it: run against our resource, request and router.

Each passes, or stands in ``DIFFERENT`` with the reason and with what shows in its failure.
"""

from __future__ import annotations

import unittest
from typing import Any, NamedTuple
from unittest import mock

import pytest
from klein import Klein
from klein.test import test_app, test_resource
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from x121 import config
from x121.core.clocks import wall_time
from x121.http.channel import Channel
from x121.http.request import Request
from x121.middleware.errors import Errors
from x121.runtime.site import make_site
from x121.web.dispatch import RoutingResource
from x121.web.router import Router


class Difference(NamedTuple):
    """Why a case has another outcome here, and what in its failure tells that this is it."""

    why: str
    shows: str


_NO_ERROR_HANDLERS = Difference(
    why="error handlers would never be called, so whoever has some is told at the start: handlers"
    " raise AppError, and all errors have one form",
    shows="error handlers are not called",
)

DIFFERENT = {
    "test_addSlash": Difference(
        why="a redirect names the path alone, which is right under whatever name and port the"
        " client knows the server, and has no page",
        shows="1 != 3",
    ),
    "test_errorHandlerNeedsRendering": _NO_ERROR_HANDLERS,
    "test_errorHandlerReturnsResource": _NO_ERROR_HANDLERS,
    "test_failedDecodePathInfo": Difference(
        why="a path that isn't UTF-8 never comes so far: it is refused with the request's head",
        shows="UnicodeDecodeError",
    ),
    "test_genericErrorHandler": _NO_ERROR_HANDLERS,
    "test_notFound": Difference(why="errors are JSON", shows="b'404 Not Found' not in"),
    "test_notFoundException": _NO_ERROR_HANDLERS,
    "test_renderNone": Difference(
        why="a handler that answers nothing and returns None has forgotten its return",
        shows="TypeError: a handler returned NoneType: return bytes or text",
    ),
    "test_requestWriteAfterFinish": Difference(
        why="what a handler returns after it finished its request is lost, and the error says so",
        shows="TypeError: a handler finished its request and then returned a body",
    ),
    "test_typeSpecificErrorHandlers": _NO_ERROR_HANDLERS,
}


class OurResource(Resource):
    """Takes the place of ``KleinResource``, to which the cases add routes when they have it."""

    isLeaf = True

    def __init__(self, application: Klein) -> None:
        super().__init__()
        self._application = application

    def render(self, request: Any) -> Any:
        request.render(Errors(RoutingResource(self._application)))
        return NOT_DONE_YET


class OurRequest(test_resource.MockRequest, Request):
    """Takes the place of the cases' request: theirs, on top of ours."""

    def __init__(self, path: bytes, *args: Any, **kwargs: Any) -> None:
        super().__init__(path, *args, **kwargs)
        self.path = path.partition(b"?")[0]
        self.site = self.channel.site
        self.channel.requests.append(self)  # type: ignore[attr-defined]


def our_channel() -> Channel:
    """Return what takes the place of the channel that the cases' requests are on."""
    site = make_site(Resource(), config.load({}, "/dev/null").config, clock=Clock(), now=wall_time)
    channel = site.buildProtocol(None)
    channel.makeConnection(StringTransport())
    return channel


def cases(module: Any) -> list[Any]:
    """Return every case of a module, as an argument of a test."""
    suite: Any = unittest.defaultTestLoader.loadTestsFromModule(module)
    return [pytest.param(case, id=case.id()) for group in suite for case in group]


def qualified_name(case: unittest.TestCase) -> str:
    return case.id().rpartition(".")[2]


def check(case: unittest.TestCase) -> None:
    """Run a case; fail if it does and should not, for another reason, or does no more."""
    result = unittest.TestResult()
    case.run(result)
    problems = "\n".join(text for _, text in result.errors + result.failures)
    difference = DIFFERENT.get(qualified_name(case))
    if difference is None:
        assert not problems, problems
    else:
        assert difference.shows in problems, f"differs in another way, or not at all:\n{problems}"


@pytest.mark.parametrize("case", cases(test_resource))
def test_resource_case(case: unittest.TestCase) -> None:
    """A request is served as Klein's resource would, whatever a handler returns."""
    with mock.patch.multiple(
        test_resource, KleinResource=OurResource, MockRequest=OurRequest, DummyChannel=our_channel
    ):
        check(case)


@pytest.mark.parametrize("case", cases(test_app))
def test_router_case(case: unittest.TestCase) -> None:
    """A router is to its users what a Klein application is."""
    with mock.patch.object(test_app, "Klein", Router):
        check(case)


def test_known_differences() -> None:
    """Every difference is that of a case that Klein still has."""
    params = [*cases(test_resource), *cases(test_app)]
    assert DIFFERENT.keys() <= {qualified_name(param.values[0]) for param in params}
