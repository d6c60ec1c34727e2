"""Topics: what events are about, and clients subscribe to.

A topic is text such as ``projects``.  One that is declared as ``projects/{project_id}`` stands for
many, such as ``projects/7``: a parameter is a whole segment between slashes.  The feature that
declares a topic states who may subscribe to it: everybody, or those whom its rule lets in.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from x121.ws.connection import WsConnection

__all__ = ["MAX_TOPIC_LENGTH", "Rule", "Topic", "Topics", "allow_all"]

MAX_TOPIC_LENGTH = 200
"""In characters."""

Rule = Callable[..., Awaitable[object] | object]
"""Called with a connection that wants to subscribe, and the topic's parameters by name.  Raises
``Forbidden`` or ``NotFound`` to refuse, or returns None, or an awaitable that does either."""

Method = TypeVar("Method", bound=Callable[..., Any])

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Topic:
    """A topic as it is declared; ``parameters`` are the names of those it has.

    One that is ``public`` is for everybody; another one needs a :meth:`rule`.  Raises
    :class:`ValueError` for text that can't be a topic.
    """

    def __init__(self, declared: str, *, public: bool = False) -> None:
        if not 0 < len(declared) <= MAX_TOPIC_LENGTH:
            raise ValueError(f"a topic has 1 to {MAX_TOPIC_LENGTH} characters: {declared!r}")
        self._segments = declared.split("/")
        self._names = [_parameter(segment, declared) for segment in self._segments]
        self.parameters = tuple(name for name in self._names if name is not None)
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError(f"the topic {declared!r} has a parameter twice")
        self._declared = declared
        self._rule: Rule | None = allow_all if public else None

    def __str__(self) -> str:
        return self._declared

    def rule(self, method: Method) -> Method:
        """Decorate the method that says who may subscribe; see :data:`Rule`."""
        self._rule = method
        return method

    def rule_on(self, instance: object) -> Rule:
        """Return the rule, as a method of ``instance``.

        Raises :class:`ValueError` if there is no rule and the topic isn't public.
        """
        if self._rule is None:
            raise ValueError(
                f"nothing says who may subscribe to the topic {self._declared!r}: declare it with"
                " public=True, or decorate a method with its rule"
            )
        if instance is None or self._rule is allow_all:
            return self._rule
        rule: Rule = self._rule.__get__(instance)
        return rule

    def parse(self, topic: str) -> dict[str, str] | None:
        """Return the parameters that ``topic`` has, or None if this doesn't stand for it."""
        segments = topic.split("/")
        if len(segments) != len(self._segments):
            return None
        parameters = {}
        for given, declared, name in zip(segments, self._segments, self._names, strict=True):
            if name is not None and given:
                parameters[name] = given
            elif given != declared:
                return None
        return parameters

    def fill(self, parameters: Mapping[str, object]) -> str:
        """Return the topic that this is with ``parameters``.

        Raises :class:`TypeError` for other parameters than it has, and :class:`ValueError` for
        values that make no topic.
        """
        if parameters.keys() != set(self.parameters):
            names = ", ".join(self.parameters) or "none"
            given = ", ".join(parameters) or "none"
            raise TypeError(f"the parameters of {self._declared!r} are {names}, not {given}")
        topic = "/".join(
            segment if name is None else str(parameters[name])
            for segment, name in zip(self._segments, self._names, strict=True)
        )
        if len(topic) > MAX_TOPIC_LENGTH or self.parse(topic) is None:
            raise ValueError(f"{topic[:MAX_TOPIC_LENGTH]!r} is no topic {self._declared!r}")
        return topic


def allow_all(connection: WsConnection, **parameters: str) -> None:
    """Let everybody subscribe: the rule of a public topic."""


class Topics:
    """The topics of all features, each with its rule."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[Topic, Rule]] = {}

    def add(self, topic: Topic, rule: Rule) -> None:
        """Add a topic.  Raises :class:`ValueError` for one that is declared already."""
        if str(topic) in self._declared:
            raise ValueError(f"the topic {str(topic)!r} is declared twice: by one feature only")
        self._declared[str(topic)] = (topic, rule)

    def find(self, topic: str) -> Callable[[WsConnection], Awaitable[object] | object] | None:
        """Return the rule of a topic that a client names, or None if there is no such topic."""
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
    """Return the name of the parameter that a segment is, None for a plain one."""
    match = _PARAMETER.fullmatch(segment)
    if match is None and (not segment or "{" in segment or "}" in segment):
        raise ValueError(f"a topic is like projects or projects/{{project_id}}, not {declared!r}")
    return None if match is None else match[1]
