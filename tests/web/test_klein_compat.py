"""Handlers, as Klein keeps them and as they are called."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import Any

from klein import Klein
from klein._decorators import bindable, originalName
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from x121.web.klein_compat import bound_handler
from x121.web.router import Router


class Feature:
    """A class with routes."""

    router = Router()

    @router.route("/show/<int:number>")
    def show(self, request: Any, number: int) -> Any:
        """Show a number."""
        return (self, request, number)

    @router.route("/later")
    async def later(self, request: Any) -> Any:
        return (self, request)


class BoundHandlerTests(SynchronousTestCase):
    def test_nothing_in_between(self) -> None:
        """What is called is the decorated function itself, bound to its instance."""
        feature = Feature()
        handler = bound_handler(feature.router, "show")
        self.assertIsInstance(handler, MethodType)
        self.assertEqual(handler, feature.show)

    def test_nested(self) -> None:
        """However deep a router is nested, there is nothing in between."""
        feature = Feature()
        outer = Router().nest("/a", Router().nest("/b", feature.router))
        self.assertEqual(bound_handler(outer, "a.b.show"), feature.show)

    def test_without_an_instance(self) -> None:
        """A function of a router that belongs to no class is called as it is."""
        router = Router()

        @router.route("/")
        def index(request: Any) -> Any:
            return request

        self.assertIsInstance(bound_handler(router, "index"), FunctionType)
        self.assertIs(bound_handler(router, "index"), index)

    def test_bindable(self) -> None:
        """What Klein calls bindable is always given an instance, be it None."""
        router = Router()

        @router.route("/")
        @bindable
        def index(instance: Any, request: Any) -> Any:
            return (instance, request)

        self.assertEqual(bound_handler(router, "index")(7), (None, 7))
        nested = Router().nest("/a", router)
        self.assertEqual(bound_handler(nested, "a.index")(7), (None, 7))

    def test_plain_klein(self) -> None:
        """A plain Klein application is called as Klein calls it."""

        class Plain:
            klein = Klein()

            @klein.route("/")
            def index(self, request: Any) -> Any:
                return (self, request)

        plain = Plain()
        application: Any = plain.klein
        self.assertEqual(bound_handler(application, "index")(7), (plain, 7))
        nested = Router().nest("/a", application)
        self.assertEqual(bound_handler(nested, "a.index")(7), (plain, 7))

    def test_somebody_elses(self) -> None:
        """An endpoint that somebody put there, or a way to execute it, is not passed by."""
        feature = Feature()
        router = Router()
        router.route("/")(lambda request: "replaced")
        inner: Any = router.endpoints["<lambda>"]

        def replacement(instance: Any, request: Any) -> str:
            return f"{inner(instance, request)} by another"

        router.endpoints["<lambda>"] = replacement
        self.assertEqual(bound_handler(router, "<lambda>")(7), "replaced by another")

        class Counting(Router):
            def execute_endpoint(self, endpoint: str, *args: Any, **kwargs: Any) -> Any:
                return (endpoint, super().execute_endpoint(endpoint, *args, **kwargs))

        counting = Counting()
        counting.route("/")(feature.show)
        self.assertEqual(bound_handler(counting, "show")(7, number=1), ("show", (feature, 7, 1)))


class EndpointTests(SynchronousTestCase):
    def test_like_kleins(self) -> None:
        """``execute_endpoint`` calls a handler, and makes a Deferred of a coroutine."""
        feature = Feature()
        request: Any = object()
        router = feature.router
        self.assertEqual(router.execute_endpoint("show", request, number=7), (feature, request, 7))
        later: Any = router.execute_endpoint("later", request)
        self.assertIsInstance(later, Deferred)
        self.assertEqual(self.successResultOf(later), (feature, request))

    def test_what_is_known_of_it(self) -> None:
        """It has the segments of its route, and the name and text of its function."""
        endpoint: Any = Feature.router.endpoints["show"]
        self.assertEqual(endpoint.segment_count, 2)
        self.assertEqual(originalName(endpoint), "show")
        self.assertEqual(endpoint.__doc__, "Show a number.")
        nested: Any = Router().nest("/a/b", Feature().router).endpoints["a/b.show"]
        self.assertEqual(nested.segment_count, 4)
        self.assertEqual(originalName(nested), "show")
