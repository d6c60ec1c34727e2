"""Routes: Klein's, nested into one werkzeug map so that a request is matched once.

A feature is a class with a ``router``; its methods are Klein handlers (plain, ``async def``
or returning a Deferred) and its state is ``self``::

    class Projects:
        router = Router()

        def __init__(self, state: AppState) -> None:
            self._state = state

        @router.route("/<int:project_id>")
        async def show(self, request: IRequest, project_id: int) -> bytes: ...

    Router().nest("/projects", Projects(state).router)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from klein import Klein
from werkzeug.routing import IntegerConverter, Map

from x121.api.endpoints import Endpoint, bound_handler

__all__ = ["Router"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Router(Klein):
    """A Klein application that other ones can be nested into.

    Routes answer GET, and with it HEAD, unless ``methods`` says otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        # A path is what it is: two slashes are not one, and nobody is redirected for them.
        self._url_map = Map(merge_slashes=False, converters={"int": _BigInt})

    def __get__(self, instance: Any, owner: object) -> Router:
        """Return the router whose handlers are called on ``instance``."""
        bound = super().__get__(instance, owner)
        assert isinstance(bound, Router)
        return bound

    def route(self, url: str, *args: Any, **kwargs: Any) -> Callable[[Handler], Handler]:
        """Return a decorator that serves ``url``; see :meth:`klein.Klein.route`."""
        kwargs.setdefault("methods", ["GET"])
        register = super().route(url, *args, **kwargs)

        def decorate(handler: Handler) -> Handler:
            name = kwargs.setdefault("endpoint", handler.__name__)  # as Klein does
            register(handler)
            made: Any = self._endpoints[name]
            self._endpoints[name] = Endpoint(made.__name__, handler, made.segment_count)
            return handler

        return decorate

    def nest(self, prefix: str, router: Klein) -> Router:
        """Serve the routes of ``router`` below ``prefix`` and return ``self``.

        Its route ``/`` is ``prefix`` itself.  Raises :class:`ValueError` for a prefix that
        isn't a path, and for a router with error handlers: they would be everybody's, so a
        feature raises :class:`~x121.errors.AppError` instead.
        """
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ValueError(f"a prefix is like /projects, not {prefix!r}")
        if router._error_handlers:
            raise ValueError(f"{prefix}: a nested router can't have error handlers of its own")
        for name in router.endpoints:
            self._adopt(prefix, router, name)
        for rule in router.url_map.iter_rules():
            nested = rule.empty()
            nested.rule = prefix + ("" if rule.rule == "/" else rule.rule)
            nested.endpoint = _nested_name(prefix, rule.endpoint)
            self._url_map.add(nested)
        return self

    def _adopt(self, prefix: str, router: Klein, name: str) -> None:
        """Take over a handler of ``router``, on the instance that it is bound to."""
        endpoint = _nested_name(prefix, name)
        if endpoint in self._endpoints:
            raise ValueError(f"{prefix}: there already is a route named {endpoint}")
        known: Any = router.endpoints[name]
        segments = known.segment_count + prefix.count("/") + self._subroute_segments
        handler = bound_handler(router, name)
        self._endpoints[endpoint] = Endpoint(endpoint, handler, segments, is_bound=True)


class _BigInt(IntegerConverter):
    """``<int:name>``: what a ``BIGINT`` can hold.  Anything else matches no route: 404."""

    regex = "[0-9]{1,19}"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max": 2**63 - 1, **kwargs})


def _nested_name(prefix: str, name: str) -> str:
    return f"{prefix[1:]}.{name}"
