"""Calls that wait for commits, made in the order in which those happened.

PostgreSQL lets go of a row before it answers the COMMIT, so whoever changes the row next may have
his own COMMIT answered first.  But he can only have sent it after the other was sent: so what waits
for a commit is called after what waits for those that were sent before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["CommitHooks"]

T = TypeVar("T")
Calls = Sequence[Callable[[], object]]

_log = Logger(namespace="x121.db.pool")


class _Commit:
    __slots__ = ("calls", "ended")

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.ended = False


class CommitHooks:
    """The commits of one pool that somebody is to be told of."""

    def __init__(self) -> None:
        self._sent: deque[_Commit] = deque()
        self._telling = False

    def sent(self, committing: Deferred[T], calls: Calls) -> None:
        """Make ``calls`` once ``committing`` and those sent before have ended; never if it fails.

        What they raise is logged.
        """
        commit = _Commit(calls)
        self._sent.append(commit)
        committing.addBoth(self._ended, commit)

    def _ended(self, result: T | Failure, commit: _Commit) -> T | Failure:
        if isinstance(result, Failure):
            commit.calls = ()
        commit.ended = True
        self._tell()
        return result

    def _tell(self) -> None:
        if self._telling:  # one of the calls has ended another commit, whose turn comes
            return
        self._telling = True
        try:
            while self._sent and self._sent[0].ended:
                for call in self._sent.popleft().calls:
                    _make(call)
        finally:
            self._telling = False


def _make(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        _log.failure("Failed when a transaction was committed")
