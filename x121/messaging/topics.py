"""Topics: names that events are published to and clients subscribe to.

A topic is text such as ``projects``.  One declared as ``projects/{project_id}`` matches many, such
as ``projects/7``: a parameter is a whole segment between slashes.  The feature that declares a
topic states its permission: every client may subscribe, or those that its rule allows.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from x121.ws.connection import WsConnection

__all__ = ["MAX_TOPIC_LENGTH", "Rule", "Topic", "Topics", "allow_all"]

MAX_TOPIC_LENGTH = 200
"""The maximum length of a topic, in characters."""

Rule = Callable[..., Awaitable[object] | object]
"""Called with a connection that subscribes, and the topic's parameters by name.

Raises ``Forbidden`` or ``NotFound`` to reject it, else returns None; or returns an awaitable of it.
"""

Method = TypeVar("Method", bound=Callable[..., Any])

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Topic:
    """A topic as it is declared; ``parameters`` are the names of its parameters.

    Every client may subscribe to a ``public`` one; any other needs a :meth:`rule`.  Raises
    :class:`ValueError` for text that isn't a valid topic.
    """

    def __init__(self, declared: str, *, public: bool = False) -> None:
        if not 0 < len(declared) <= MAX_TOPIC_LENGTH:
            raise ValueError(
                f"invalid topic {declared!r}: expected 1 to {MAX_TOPIC_LENGTH} characters"
            )
        self._segments = declared.split("/")
        self._names = [_parameter(segment, declared) for segment in self._segments]
        self.parameters = tuple(name for name in self._names if name is not None)
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError(f"invalid topic {declared!r}: it has the same parameter twice")
        self._declared = declared
        self._rule: Rule | None = allow_all if public else None

    def __str__(self) -> str:
        return self._declared

    def rule(self, method: Method) -> Method:
        """Decorate the method that decides if a connection may subscribe; see :data:`Rule`."""
        self._rule = method
        return method

    def rule_on(self, instance: object) -> Rule:
        """Return the rule, as a method of ``instance``.

        Raises :class:`ValueError` if there is no rule and the topic isn't public.
        """
        if self._rule is None:
            raise ValueError(
                f"the topic {self._declared!r} has no rule for subscriptions: declare it with"
                " public=True, or decorate a method with its rule"
            )
        if instance is None or self._rule is allow_all:
            return self._rule
        rule: Rule = self._rule.__get__(instance)
        return rule

    def parse(self, topic: str) -> dict[str, str] | None:
        """Return the parameters of ``topic``, or None if it doesn't match this declaration."""
        segments = topic.split("/")
        if len(segments) != len(self._segments):
            return None
        parameters = {}
        for segment, declared, name in zip(segments, self._segments, self._names, strict=True):
            if name is not None and segment:
                parameters[name] = segment
            elif segment != declared:
                return None
        return parameters

    def fill(self, parameters: Mapping[str, object]) -> str:
        """Return the topic with ``parameters`` filled in.

        Raises :class:`TypeError` for missing or unknown parameters, and :class:`ValueError` for
        values that make the topic invalid.
        """
        if parameters.keys() != set(self.parameters):
            names = ", ".join(self.parameters) or "none"
            actual = ", ".join(parameters) or "none"
            raise TypeError(
                f"wrong parameters for the topic {self._declared!r}: {actual} (expected {names})"
            )
        topic = "/".join(
            segment if name is None else str(parameters[name])
            for segment, name in zip(self._segments, self._names, strict=True)
        )
        if len(topic) > MAX_TOPIC_LENGTH or self.parse(topic) is None:
            raise ValueError(
                f"invalid topic {topic[:MAX_TOPIC_LENGTH]!r}: expected {self._declared!r} with"
                f" parameters that are not empty and have no slash, {MAX_TOPIC_LENGTH} characters"
                " at most"
            )
        return topic


def allow_all(connection: WsConnection, **parameters: str) -> None:
    """Allow every client: the rule of a public topic."""


class Topics:
    """The topics of all features, each with its rule."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[Topic, Rule]] = {}

    def add(self, topic: Topic, rule: Rule) -> None:
        """Add a topic.  Raises :class:`ValueError` for one that is declared already."""
        if str(topic) in self._declared:
            raise ValueError(
                f"the topic {str(topic)!r} is declared twice: declare it in one feature only"
            )
        self._declared[str(topic)] = (topic, rule)

    def find(self, topic: str) -> Callable[[WsConnection], Awaitable[object] | object] | None:
        """Return the rule of a topic that a client sent, or None if no such topic is declared."""
        plain = self._declared.get(topic)
        candidates = self._declared.values() if plain is None else [plain]
        for declared, rule in candidates:
            parameters = declared.parse(topic)
            if parameters is not None:
                return partial(_ask, rule, parameters)
        return None


def _ask(
    rule: Rule, parameters: dict[str, str], connection: WsConnection
) -> Awaitable[object] | object:
    return rule(connection, **parameters)


def _parameter(segment: str, declared: str) -> str | None:
    """Return the parameter's name for a segment like ``{name}``, None for a plain one."""
    match = _PARAMETER.fullmatch(segment)
    if match is None and (not segment or "{" in segment or "}" in segment):
        raise ValueError(
            f"invalid topic {declared!r}: expected one such as projects or projects/{{project_id}}"
        )
    return None if match is None else match[1]
