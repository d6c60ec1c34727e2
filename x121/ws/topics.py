"""Topics: what events are about, and clients subscribe to.

A topic is text such as ``projects``.  One that is declared as ``projects/{project_id}`` stands for
many, such as ``projects/7``: a parameter is a whole segment between slashes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["MAX_TOPIC_LENGTH", "Topic", "Topics"]

MAX_TOPIC_LENGTH = 200
"""In characters."""

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Topic:
    """A topic as it is declared; ``parameters`` are the names of those it has.

    Raises :class:`ValueError` for text that is none.
    """

    def __init__(self, declared: str) -> None:
        if not 0 < len(declared) <= MAX_TOPIC_LENGTH:
            raise ValueError(f"a topic has 1 to {MAX_TOPIC_LENGTH} characters: {declared!r}")
        self._segments = declared.split("/")
        self._names = [_parameter(segment, declared) for segment in self._segments]
        self.parameters = tuple(name for name in self._names if name is not None)
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError(f"the topic {declared!r} has a parameter twice")
        self._declared = declared

    def __str__(self) -> str:
        return self._declared

    def matches(self, topic: str) -> bool:
        """Return whether this stands for ``topic``."""
        segments = topic.split("/")
        return len(segments) == len(self._segments) and all(
            given == declared if name is None else bool(given)
            for given, declared, name in zip(segments, self._segments, self._names, strict=True)
        )

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
        if len(topic) > MAX_TOPIC_LENGTH or not self.matches(topic):
            raise ValueError(f"{topic[:MAX_TOPIC_LENGTH]!r} is no topic {self._declared!r}")
        return topic


class Topics:
    """The topics that are declared; one is ``in`` here if it, or what stands for it, is."""

    def __init__(self) -> None:
        self._plain: set[str] = set()
        self._patterns: dict[str, Topic] = {}

    def add(self, topic: Topic) -> None:
        """Take in a topic; it may be there already."""
        if topic.parameters:
            self._patterns[str(topic)] = topic
        else:
            self._plain.add(str(topic))

    def __contains__(self, topic: str) -> bool:
        return topic in self._plain or any(one.matches(topic) for one in self._patterns.values())


def _parameter(segment: str, declared: str) -> str | None:
    """Return the name of the parameter that a segment is, None for a plain one."""
    match = _PARAMETER.fullmatch(segment)
    if match is None and (not segment or "{" in segment or "}" in segment):
        raise ValueError(f"a topic is like projects or projects/{{project_id}}, not {declared!r}")
    return None if match is None else match[1]
