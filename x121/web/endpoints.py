"""Handlers as Klein keeps them, and as they are called here: with nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import iscoroutine
from types import MethodType
from typing import Any

from klein import Klein
from twisted.internet.defer import ensureDeferred

from x121.web.operations import Operation

__all__ = ["Endpoint", "Handler", "bound_handler"]

Handler = Callable[..., Any]
"""Called with a request and the route's arguments, by name."""


class Endpoint:
    """What stands in ``Klein.endpoints``: called as ``endpoint(instance, request, ...)``.

    ``handler`` is what is called, and ``segment_count`` the number of segments in its route.  One
    that ``is_bound`` has its instance already.  ``operation`` is what it takes and gives, or None
    where that is nobody else's business, and ``owner`` the feature that it belongs to.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        segment_count: int,
        operation: Operation | None = None,
        owner: object = None,
        *,
        is_bound: bool = False,
    ) -> None:
        self.segment_count = segment_count
        self.operation = operation
        self.owner = owner
        self.__name__ = self.__qualname__ = name
        self.__doc__ = handler.__doc__
        self.__original__ = handler  # for Klein's originalName()
        self._handler = handler
        self._is_bound = is_bound

    def __call__(self, instance: object, /, *args: Any, **kwargs: Any) -> Any:
        """Return what the handler returns, a coroutine as a Deferred, as Klein's own do."""
        result = self.on(instance)(*args, **kwargs)
        return ensureDeferred(result) if iscoroutine(result) else result

    def on(self, instance: object) -> Handler:
        """Return the handler as a method of ``instance``, unless that is None.

        Klein's ``bindable`` handlers are given their instance even so.
        """
        if self._is_bound:
            return self._handler
        if instance is not None:
            return MethodType(self._handler, instance)
        bindable = getattr(self._handler, "__klein_bound__", False)
        return partial(self._handler, None) if bindable else self._handler


def bound_handler(application: Klein, endpoint: str) -> Handler:
    """Return the handler of an endpoint, on the instance that ``application`` is bound to."""
    if type(application).execute_endpoint is not Klein.execute_endpoint:
        return partial(application.execute_endpoint, endpoint)  # somebody's own way
    found: Any = application.endpoints[endpoint]
    if isinstance(found, Endpoint):
        return found.on(application._instance)
    return partial(found, application._instance)
