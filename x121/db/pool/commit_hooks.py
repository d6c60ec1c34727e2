"""Callbacks that run after commits, in commit order.

PostgreSQL releases a row's lock before it responds to the COMMIT, so the response to the next
transaction that changes the row may arrive first. But that transaction's COMMIT was sent later. So
the callbacks of a commit run after those of all commits that were sent before it.
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
    """Commits of one pool that have callbacks."""

    def __init__(self) -> None:
        self._sent: deque[_Commit] = deque()
        self._telling = False

    def sent(self, committing: Deferred[T], calls: Calls) -> None:
        """Run ``calls`` once ``committing`` and those sent before have ended; never if it fails.

        Exceptions that they raise are logged.
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
        if self._telling:  # a callback has ended another commit; the loop below handles it
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
        _log.failure("An on_commit callback failed")
