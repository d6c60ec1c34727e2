"""The pool on a clock that stands still, with connections that are in memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from itertools import pairwise
from random import Random
from typing import Any, TypeVar, cast

import psycopg2
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from x121.db.connection import Params, Query, Result
from x121.db.pool import Pool, PoolStats, Session
from x121.errors import RowNotFound, ServiceUnavailable
from x121.logs import REQUEST_ID

T = TypeVar("T")
MAX_LIFETIME = 1000.0


class FakeConnection:
    """Knows transactions by their words; other queries end when the test says so."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.busy = False
        self.session_changed = False
        self.closed = False
        self.in_transaction = False
        self.transaction_failed = False
        self.on_lost: Callable[[BaseException], None] | None = None
        self.log: list[str] = []
        self.running: Deferred[Result] | None = None
        self.failures: dict[str, Exception] = {}
        self.slow: set[str] = set()
        self.resetting: Deferred[None] | None = None

    @property
    def is_clean(self) -> bool:
        return not (self.closed or self.busy or self.in_transaction or self.session_changed)

    def execute(self, query: Query, params: Params = ()) -> Deferred[Result]:
        assert not self.busy, "two queries at once"
        self.log.append(str(query))
        self.busy = True
        running: Deferred[Result] = Deferred(self._abandon)
        self.running = running
        if self.closed:
            self.end(psycopg2.InterfaceError("connection already closed"))
        elif str(query) in self.failures:
            self.transaction_failed = self.in_transaction
            self.end(self.failures[str(query)])
        elif str(query) in self.slow:
            pass
        elif str(query) in ("BEGIN", "COMMIT", "ROLLBACK"):
            self.in_transaction = str(query) == "BEGIN"
            self.transaction_failed = False
            self.end(Result([], -1))
        elif self.answers:
            self.end(Result([(str(query), *params)], 1))
        return running

    def end(self, outcome: Result | Exception) -> None:
        """Let the query that runs end."""
        running, self.running = self.running, None
        self.busy = False
        if running is not None:
            running.callback(outcome) if isinstance(outcome, Result) else running.errback(outcome)

    def _abandon(self, _: Deferred[Result]) -> None:
        self.running = None

    async def reset(self) -> None:
        self.log.append("reset")
        if self.resetting is not None:
            await self.resetting
        self.busy = self.in_transaction = self.transaction_failed = False
        self.session_changed = False

    def close(self) -> None:
        self.closed = True
        if self.running is not None:
            self.end(psycopg2.OperationalError("the connection was closed"))

    def lose(self, error: BaseException | None = None) -> None:
        """End as if the server had hung up."""
        told, self.on_lost = self.on_lost, None
        self.close()
        if told is not None:
            told(error or psycopg2.OperationalError("server closed the connection"))


class FakeDatabase:
    """Opens connections at once, refuses them, or lets them wait for the test."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []
        self.attempts = 0
        self.refuses = False
        self.hangs = False
        self.answers = True
        self.pending: list[Deferred[None]] = []

    async def connect(self) -> FakeConnection:
        self.attempts += 1
        if self.hangs:
            pending: Deferred[None] = Deferred()
            self.pending.append(pending)
            await pending
        if self.refuses:
            raise psycopg2.OperationalError("connection refused")
        connection = FakeConnection(answers=self.answers)
        self.made.append(connection)
        return connection

    @property
    def open(self) -> list[FakeConnection]:
        return [connection for connection in self.made if not connection.closed]


class PoolTestCase(SynchronousTestCase):
    """Has a clock, a database and a pool of 1 to 2."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.database = FakeDatabase()
        self.events: list[LogEvent] = []
        self.borrowers: list[Borrower] = []  # a coroutine that nobody knows is collected
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def pool(
        self, min_size: int = 1, max_size: int = 2, *, max_waiting: int = 5, start: bool = True
    ) -> Pool:
        pool = Pool(
            self.database.connect,
            clock=self.clock,
            min_size=min_size,
            max_size=max_size,
            acquire_timeout_secs=5,
            max_lifetime_secs=MAX_LIFETIME,
            max_waiting=max_waiting,
            rng=Random(1),
        )
        if start:
            self.successResultOf(begin(pool.start()))
        return pool

    def borrow(self, pool: Pool, *, transaction: bool = False) -> Borrower:
        borrower = Borrower(pool, transaction=transaction)
        self.borrowers.append(borrower)
        return borrower

    def lines(self, level: LogLevel) -> list[str]:
        return [
            str(event["log_format"])
            for event in self.events
            if event["log_namespace"] == "x121.db.pool" and event["log_level"] is level
        ]

    def stop(self, pool: Pool) -> None:
        self.successResultOf(begin(pool.stop(grace_secs=0)))
        assert self.clock.getDelayedCalls() == []
        assert self.database.open == []


def begin(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    return Deferred.fromCoroutine(work)


class Borrower:
    """Somebody in an ``async with`` block until the test lets him go."""

    def __init__(self, pool: Pool, *, transaction: bool = False) -> None:
        self.session: Session | None = None
        self.leave: Deferred[None] = Deferred()
        block = pool.transaction() if transaction else pool.acquire()
        self.error: BaseException | None = None
        self.done = begin(self._run(block)).addErrback(self._keep)

    async def _run(self, block: Any) -> None:
        async with block as self.session:
            await self.leave

    def _keep(self, failure: Any) -> None:
        self.error = failure.value

    @property
    def inside(self) -> bool:
        return self.session is not None and not self.done.called

    @property
    def its(self) -> Session:
        assert self.session is not None
        return self.session


class LendingTests(PoolTestCase):
    """Who gets a connection, and when."""

    def test_start_opens_the_minimum(self) -> None:
        """After start there are ``min_size`` idle connections."""
        pool = self.pool(min_size=2)
        assert (pool.stats().size, pool.stats().idle) == (2, 2)
        self.stop(pool)

    def test_start_fails_with_the_first_error(self) -> None:
        """A start that fails raises the database's error, closes all, and may be repeated."""
        pool = self.pool(min_size=2, start=False)
        self.database.hangs = True
        starting = begin(pool.start())
        self.database.pending[0].callback(None)
        self.database.refuses = True
        self.database.pending[1].callback(None)
        self.failureResultOf(starting, psycopg2.OperationalError)
        assert self.database.open == []
        assert self.clock.getDelayedCalls() == []
        self.database.refuses = self.database.hangs = False
        self.successResultOf(begin(pool.start()))
        self.stop(pool)

    def test_cancelled_start_closes_what_it_opened(self) -> None:
        """A start that is cancelled leaves no connection behind."""
        pool = self.pool(min_size=2, start=False)
        self.database.hangs = True
        starting = begin(pool.start())
        self.database.pending[0].callback(None)
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        assert len(self.database.made) == 1
        assert self.database.open == []

    def test_stop_during_start(self) -> None:
        """A pool that is stopped while it starts ends with no connection."""
        pool = self.pool(start=False)
        self.database.hangs = True
        starting = begin(pool.start())
        self.stop(pool)
        self.database.pending[0].callback(None)
        self.failureResultOf(starting, ServiceUnavailable)
        assert self.database.open == []

    def test_grows_to_the_maximum_and_no_further(self) -> None:
        """Borrowers beyond the idle ones get new connections up to ``max_size``."""
        pool = self.pool()
        borrowers = [self.borrow(pool) for _ in range(4)]
        assert [borrower.inside for borrower in borrowers] == [True, True, False, False]
        assert len(self.database.made) == 2
        self.stop(pool)

    def test_serves_in_order_of_arrival(self) -> None:
        """A connection that comes back goes to who has waited longest, not to a newcomer."""
        pool = self.pool(1, 1)
        first, second, third = (self.borrow(pool) for _ in range(3))
        first.leave.callback(None)
        fourth = self.borrow(pool)
        assert (second.inside, third.inside, fourth.inside) == (True, False, False)
        second.leave.callback(None)
        assert (third.inside, fourth.inside) == (True, False)
        self.stop(pool)

    def test_newcomer_does_not_overtake_while_the_queue_is_served(self) -> None:
        """Who gives back and asks again at once stands behind those who wait."""
        pool = self.pool(1, 1)
        order: list[str] = []

        async def ask(name: str, times: int) -> None:
            for _ in range(times):
                async with pool.acquire():
                    order.append(name)

        first = self.borrow(pool)
        greedy, modest = begin(ask("greedy", 2)), begin(ask("modest", 1))
        first.leave.callback(None)
        self.successResultOf(greedy)
        self.successResultOf(modest)
        assert order == ["greedy", "modest", "greedy"]
        self.stop(pool)

    def test_wait_is_bounded_in_time(self) -> None:
        """After ``acquire_timeout_secs`` a waiter gets a 503 that says why in its detail."""
        pool = self.pool(1, 1)
        self.borrow(pool)
        late = self.borrow(pool)
        self.clock.advance(4.9)
        assert not late.done.called
        self.clock.advance(0.2)
        assert isinstance(late.error, ServiceUnavailable)
        assert late.error.message == "No database connection within 5 s"
        assert "1 of at most 1 in use" in late.error.detail
        assert (pool.stats().timeouts_total, pool.stats().waiting) == (1, 0)
        self.stop(pool)

    def test_queue_is_bounded(self) -> None:
        """Who would be one too many to wait is refused at once."""
        pool = self.pool(1, 1, max_waiting=1)
        self.borrow(pool)
        self.borrow(pool)
        refused = self.borrow(pool)
        assert isinstance(refused.error, ServiceUnavailable)
        assert (pool.stats().refused_total, pool.stats().waiting) == (1, 1)
        self.stop(pool)

    def test_cancelled_waiter_leaves_the_queue(self) -> None:
        """A waiter that is cancelled takes no connection and leaves no timer."""
        pool = self.pool(1, 1)
        first = self.borrow(pool)
        gone, next_one = self.borrow(pool), self.borrow(pool)
        gone.done.cancel()
        assert isinstance(gone.error, CancelledError)
        first.leave.callback(None)
        assert next_one.inside
        assert pool.stats().waiting == 0
        self.stop(pool)

    def test_connection_served_to_one_who_leaves_is_not_lost(self) -> None:
        """A connection handed over in the moment of a cancel comes back to the pool."""
        pool = self.pool(1, 1)
        first = self.borrow(pool)
        waiting = pool._waiters.wait()
        served = waiting.send(None)
        assert isinstance(served, Deferred)
        first.leave.callback(None)  # the pool serves it, and it hasn't been told yet
        assert pool.stats().in_use == 1
        with pytest.raises(CancelledError):
            waiting.throw(CancelledError())
        assert (pool.stats().in_use, pool.stats().idle) == (0, 1)
        self.stop(pool)

    def test_waiter_thrown_away_leaves_the_queue(self) -> None:
        """A coroutine that waits and is closed is no longer in the queue."""
        pool = self.pool(1, 1)
        first = self.borrow(pool)
        waiting = pool._waiters.wait()
        waiting.send(None)
        waiting.close()
        assert pool.stats().waiting == 0
        first.leave.callback(None)
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_serving_a_long_queue_needs_no_deep_stack(self) -> None:
        """A thousand waiters who leave at once are served one after the other."""
        pool = self.pool(1, 1, max_waiting=1000)
        first = self.borrow(pool)
        waiters = [begin(pool.fetch_all("SELECT 1")) for _ in range(1000)]
        first.leave.callback(None)
        for waiter in waiters:
            self.successResultOf(waiter)
        assert (pool.stats().idle, pool.stats().acquired_total) == (1, 1001)
        self.stop(pool)

    def test_not_running(self) -> None:
        """Before start and after stop there is a 503 at once."""
        pool = self.pool(start=False)
        self.failureResultOf(begin(pool.fetch_all("SELECT 1")), ServiceUnavailable)
        self.successResultOf(begin(pool.start()))
        self.stop(pool)
        self.failureResultOf(begin(pool.fetch_all("SELECT 1")), ServiceUnavailable)

    def test_impossible_sizes(self) -> None:
        """Sizes that contradict each other are refused when the pool is made."""
        for sizes in ((2, 1), (-1, 1), (0, 0)):
            with pytest.raises(ValueError, match="invalid pool size"):
                self.pool(*sizes, start=False)

    def test_stats(self) -> None:
        """Statistics count who is where, and how long was waited."""
        pool = self.pool(1, 1)
        first, second = self.borrow(pool), self.borrow(pool)
        self.clock.advance(2)
        first.leave.callback(None)
        assert second.inside
        assert pool.stats() == PoolStats(
            size=1,
            idle=0,
            in_use=1,
            recovering=0,
            connecting=0,
            waiting=0,
            min_size=1,
            max_size=1,
            acquired_total=2,
            waited_total=1,
            waited_secs_total=2.0,
            timeouts_total=0,
            refused_total=0,
            opened_total=1,
            lost_total=0,
            last_error="",
        )
        self.stop(pool)


class SessionTests(PoolTestCase):
    """What a borrower may do."""

    def test_results(self) -> None:
        """The four forms give rows, one row, a row or None, and a count."""
        pool = self.pool()
        connection = self.database.made[0]
        assert self.successResultOf(begin(pool.fetch_all("Q", (1,)))) == [("Q", 1)]
        assert self.successResultOf(begin(pool.fetch_one("Q"))) == ("Q",)
        assert self.successResultOf(begin(pool.execute("Q"))) == 1
        connection.answers = False
        missing, required = begin(pool.fetch_optional("Q")), begin(pool.fetch_one("Q"))
        connection.end(Result([], 0))
        assert self.successResultOf(missing) is None
        self.database.made[1].answers = True
        connection.end(Result([], 0))
        self.successResultOf(required.addErrback(lambda failure: failure.trap(RowNotFound)))
        self.stop(pool)

    def test_use_after_the_end(self) -> None:
        """A session that ended refuses queries, though its connection is open."""
        pool = self.pool()
        borrower = self.borrow(pool)
        borrower.leave.callback(None)
        error = self.failureResultOf(begin(borrower.its.execute("Q")), RuntimeError)
        assert "ended" in str(error.value)
        self.stop(pool)

    def test_two_queries_at_once(self) -> None:
        """A second query while one runs is refused, and the first goes on."""
        self.database.answers = False
        pool = self.pool()
        borrower = self.borrow(pool)
        first = begin(borrower.its.execute("Q"))
        error = self.failureResultOf(begin(borrower.its.execute("R")), RuntimeError)
        assert "is still running a query" in str(error.value)
        self.database.made[0].end(Result([], 3))
        assert self.successResultOf(first) == 3
        self.stop(pool)

    def test_block_entered_twice(self) -> None:
        """One acquire() serves one block."""
        pool = self.pool()
        block = pool.acquire()
        self.successResultOf(begin(block.__aenter__()))
        self.failureResultOf(begin(block.__aenter__()), RuntimeError)
        assert pool.stats().in_use == 1
        self.stop(pool)

    def test_changed_session(self) -> None:
        """A connection is reset if its session was changed, and else it isn't."""
        pool = self.pool(1, 1)
        (connection,) = self.database.made
        self.successResultOf(begin(pool.execute("SELECT")))
        self.assertEqual(connection.log, ["SELECT"])
        connection.session_changed = True
        connection.resetting = Deferred()
        self.successResultOf(begin(pool.execute("SET")))
        self.assertEqual((pool.stats().recovering, connection.log[-1]), (1, "reset"))
        following = self.borrow(pool)
        self.assertFalse(following.inside)
        connection.resetting.callback(None)
        self.assertTrue(following.inside)
        following.leave.callback(None)
        self.stop(pool)

    def test_open_transaction_is_not_passed_on(self) -> None:
        """A connection given back in a transaction is reset before the next one gets it."""
        pool = self.pool(1, 1)
        connection = self.database.made[0]
        connection.resetting = Deferred()
        borrower = self.borrow(pool)
        self.successResultOf(begin(borrower.its.execute("BEGIN")))
        borrower.leave.callback(None)
        next_one = self.borrow(pool)
        assert (next_one.inside, pool.stats().in_use, pool.stats().recovering) == (False, 1, 1)
        connection.resetting.callback(None)
        assert next_one.inside
        assert pool.stats().recovering == 0
        self.stop(pool)


class TransactionTests(PoolTestCase):
    """BEGIN, COMMIT and ROLLBACK."""

    def test_commits(self) -> None:
        """A block that ends well is committed."""
        pool = self.pool()
        self.borrow(pool, transaction=True).leave.callback(None)
        assert self.database.made[0].log == ["BEGIN", "COMMIT"]
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_rolls_back_and_passes_the_error_on(self) -> None:
        """What a block raises comes out unchanged, after the ROLLBACK."""
        pool = self.pool()
        borrower = self.borrow(pool, transaction=True)
        error = LookupError("mine")
        borrower.leave.errback(error)
        assert borrower.error is error
        assert self.database.made[0].log == ["BEGIN", "ROLLBACK"]
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_failing_rollback_does_not_mask_the_error(self) -> None:
        """When ROLLBACK fails the block's own error is raised and the connection is reset."""
        pool = self.pool()
        connection = self.database.made[0]
        connection.failures["ROLLBACK"] = psycopg2.OperationalError("no")
        borrower = self.borrow(pool, transaction=True)
        error = LookupError("mine")
        borrower.leave.errback(error)
        assert borrower.error is error
        assert connection.log == ["BEGIN", "ROLLBACK", "reset"]
        self.stop(pool)

    def test_failing_commit(self) -> None:
        """A COMMIT that fails raises its error."""
        pool = self.pool()
        error = psycopg2.IntegrityError("deferred")
        self.database.made[0].failures["COMMIT"] = error
        borrower = self.borrow(pool, transaction=True)
        borrower.leave.callback(None)
        assert borrower.error is error
        self.stop(pool)

    def test_swallowed_error_is_no_commit(self) -> None:
        """A block that hid the failure of a query is told that nothing was committed."""
        pool = self.pool()
        connection = self.database.made[0]
        connection.failures["Q"] = psycopg2.DataError("bad")
        borrower = self.borrow(pool, transaction=True)
        self.failureResultOf(begin(borrower.its.execute("Q")), psycopg2.DataError)
        borrower.leave.callback(None)
        assert isinstance(borrower.error, psycopg2.errors.InFailedSqlTransaction)
        assert connection.log[-1] == "ROLLBACK"
        self.stop(pool)

    def test_transaction_ended_inside(self) -> None:
        """A block whose own query ended the transaction is told so."""
        pool = self.pool()
        borrower = self.borrow(pool, transaction=True)
        self.successResultOf(begin(borrower.its.execute("COMMIT")))
        borrower.leave.callback(None)
        assert isinstance(borrower.error, RuntimeError)
        self.stop(pool)

    # --- what waits for the commit ---

    def test_on_commit(self) -> None:
        """What waits for the commit is called after it, in order, in its caller's context."""
        pool = self.pool()
        borrower = self.borrow(pool, transaction=True)
        log = self.database.made[0].log
        borrower.its.on_commit(lambda: log.append("first"))
        copy_context().run(self._wait_in_request, borrower.its)
        borrower.leave.callback(None)
        assert log == ["BEGIN", "COMMIT", "first", "request 7"]
        self.stop(pool)

    def _wait_in_request(self, session: Session) -> None:
        REQUEST_ID.set("7")
        log = self.database.made[0].log
        session.on_commit(lambda: log.append(f"request {REQUEST_ID.get()}"))

    def test_no_commit(self) -> None:
        """What waits for a commit is never called without one."""
        for fail in ("block", "COMMIT", "query"):
            pool = self.pool()
            connection = self.database.made[-1]
            borrower = self.borrow(pool, transaction=True)
            borrower.its.on_commit(lambda: self.fail("nothing was committed"))
            if fail == "query":
                connection.failures["Q"] = psycopg2.DataError("bad")
                self.failureResultOf(begin(borrower.its.execute("Q")), psycopg2.DataError)
            elif fail == "COMMIT":
                connection.failures["COMMIT"] = psycopg2.IntegrityError("deferred")
            if fail == "block":
                borrower.leave.errback(LookupError())
            else:
                borrower.leave.callback(None)
            assert borrower.error is not None
            self.stop(pool)

    def test_commit_of_who_was_cancelled(self) -> None:
        """A COMMIT goes on when its caller is cancelled, and what waits for it is called."""
        pool = self.pool(1, 1)
        connection = self.database.made[0]
        connection.slow = {"COMMIT"}
        borrower = self.borrow(pool, transaction=True)
        borrower.its.on_commit(lambda: connection.log.append("told"))
        borrower.leave.callback(None)
        borrower.done.cancel()
        assert isinstance(borrower.error, CancelledError)
        assert (pool.stats().recovering, connection.log) == (1, ["BEGIN", "COMMIT"])
        connection.end(Result([], -1))
        assert connection.log == ["BEGIN", "COMMIT", "told", "reset"]
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_commit_that_never_ends(self) -> None:
        """Nobody waits longer than two seconds for the COMMIT of a caller who is gone."""
        pool = self.pool(1, 1)
        connection = self.database.made[0]
        connection.slow = {"COMMIT"}
        borrower = self.borrow(pool, transaction=True)
        borrower.its.on_commit(lambda: self.fail("nobody knows"))
        borrower.leave.callback(None)
        borrower.done.cancel()
        self.clock.advance(1.9)
        assert connection.log == ["BEGIN", "COMMIT"]
        self.clock.advance(0.2)
        assert connection.log == ["BEGIN", "COMMIT", "reset"]
        self.stop(pool)

    def test_commits_in_order(self) -> None:
        """What waits for a commit is called after what waits for those that were sent before.

        PostgreSQL lets go of a row before it answers the COMMIT: whoever changes the row next may
        have his own answered first.
        """
        for outcome, expected in (
            (Result([], -1), ["first", "second"]),
            (psycopg2.OperationalError("lost"), ["second"]),
        ):
            pool = self.pool(2, 2)
            told: list[str] = []
            first, second = (self.borrow(pool, transaction=True) for _ in range(2))
            first.its.on_commit(lambda told=told: told.append("first"))  # type: ignore[misc]
            second.its.on_commit(lambda told=told: told.append("second"))  # type: ignore[misc]
            connection = self.database.made[-1]  # the last one returned is lent first
            connection.slow = {"COMMIT"}
            first.leave.callback(None)
            second.leave.callback(None)
            self.successResultOf(second.done)  # who is done is not held up
            assert (told, connection.log) == ([], ["BEGIN", "COMMIT"])
            connection.end(outcome)
            assert told == expected
            self.stop(pool)

    def test_fault_in_what_waits(self) -> None:
        """What raises after a commit is logged, and changes nothing for the others."""
        pool = self.pool()
        borrower = self.borrow(pool, transaction=True)
        told: list[int] = []
        borrower.its.on_commit(lambda: 1 / 0)
        borrower.its.on_commit(lambda: told.append(1))
        borrower.leave.callback(None)
        assert (borrower.error, told) == (None, [1])
        assert self.lines(LogLevel.critical) == ["An on_commit callback failed"]
        self.flushLoggedErrors(ZeroDivisionError)
        self.stop(pool)

    def test_no_transaction(self) -> None:
        """Without a transaction there is nothing to wait for, which is an error."""
        pool = self.pool()
        borrower = self.borrow(pool)
        with pytest.raises(RuntimeError, match="transaction"):
            borrower.its.on_commit(int)
        borrower.leave.callback(None)
        self.stop(pool)

    def test_failing_begin_gives_the_connection_back(self) -> None:
        """When BEGIN fails nobody holds the connection."""
        pool = self.pool()
        self.database.made[0].failures["BEGIN"] = psycopg2.OperationalError("no")
        borrower = self.borrow(pool, transaction=True)
        assert isinstance(borrower.error, psycopg2.OperationalError)
        assert pool.stats().in_use == 0
        self.stop(pool)

    def test_cancelled_block(self) -> None:
        """Who is cancelled goes on at once; the connection counts as in use till it is clean."""
        self.database.answers = False
        pool = self.pool(1, 1)
        connection = self.database.made[0]
        connection.resetting = Deferred()

        async def work() -> None:
            async with pool.transaction() as session:
                await session.execute("Q")

        working = begin(work())
        working.cancel()
        self.failureResultOf(working, CancelledError)
        assert connection.log == ["BEGIN", "Q", "reset"]
        assert (pool.stats().in_use, pool.stats().recovering) == (1, 1)
        connection.resetting.callback(None)
        assert (pool.stats().in_use, pool.stats().idle) == (0, 1)
        self.stop(pool)

    def test_connection_that_can_not_be_reset_is_replaced(self) -> None:
        """A reset that fails costs the connection, and another one is opened."""
        pool = self.pool(1, 1)
        connection = self.database.made[0]
        connection.resetting = Deferred()
        borrower = self.borrow(pool, transaction=True)
        borrower.done.cancel()
        connection.resetting.errback(psycopg2.OperationalError("frozen"))
        assert connection.closed
        assert (pool.stats().size, pool.stats().idle) == (1, 1)
        self.stop(pool)

    def test_thrown_away_block(self) -> None:
        """A coroutine that nobody continues gives its connection back when it is collected."""
        pool = self.pool(1, 1)

        async def work() -> None:
            async with pool.transaction():
                await Deferred()

        coroutine = work()
        coroutine.send(None)
        assert pool.stats().in_use == 1
        del coroutine
        gc.collect()
        assert (pool.stats().in_use, pool.stats().idle) == (0, 1)
        self.stop(pool)


class LossTests(PoolTestCase):
    """Connections that end by themselves, and servers that go away."""

    def test_idle_loss_is_replaced_at_once(self) -> None:
        """A connection of some age that is lost while idle is replaced without delay."""
        pool = self.pool()
        self.clock.advance(2)
        self.database.made[0].lose()
        assert (len(self.database.made), pool.stats().idle) == (2, 1)
        assert pool.stats().lost_total == 1
        self.stop(pool)

    def test_loss_during_use(self) -> None:
        """A connection lost in use is not lent again but replaced when it comes back."""
        pool = self.pool()
        self.clock.advance(2)
        borrower = self.borrow(pool)
        self.database.made[0].lose()
        assert pool.stats().in_use == 1
        borrower.leave.callback(None)
        assert (pool.stats().in_use, pool.stats().idle, len(self.database.made)) == (0, 1, 2)
        self.stop(pool)

    def test_back_off(self) -> None:
        """Attempts during an outage are one at a time, ever later, and at most 2 s apart."""
        pool = self.pool(2, 4)
        self.clock.advance(2)
        self.database.refuses = True
        for connection in tuple(self.database.made):
            connection.lose()
        attempts = []
        for _ in range(1000):
            before = self.database.attempts
            self.clock.advance(0.01)
            if self.database.attempts > before:
                assert self.database.attempts == before + 1
                attempts.append(self.clock.seconds())
        gaps = [late - early for early, late in pairwise(attempts)]
        assert gaps == sorted(gaps[:4]) + gaps[4:]
        assert all(1.4 < gap <= 2.02 for gap in gaps[4:])
        assert 6 <= len(attempts) <= 12
        self.stop(pool)

    def test_whole_again_after_an_outage(self) -> None:
        """When the database is back the pool has its minimum within 2 s, and new back-offs."""
        pool = self.pool(2, 4)
        self.clock.advance(2)
        self.database.refuses = True
        for connection in tuple(self.database.made):
            connection.lose()
        self.clock.pump([0.1] * 600)
        assert "refused" in pool.stats().last_error
        self.database.refuses = False
        self.clock.pump([0.1] * 21)
        assert (pool.stats().idle, pool.stats().last_error) == (2, "")
        self.stop(pool)

    def test_one_line_per_outage(self) -> None:
        """An outage gives a warning for the loss, one for the refusal, and a line at its end."""
        pool = self.pool(2, 4)
        self.clock.advance(2)
        self.database.refuses = True
        for connection in tuple(self.database.made):
            connection.lose()
        self.clock.pump([0.1] * 600)
        self.database.refuses = False
        self.clock.pump([0.1] * 30)
        assert [line.split(":")[0] for line in self.lines(LogLevel.warn)] == [
            "A database connection was lost",
            "The database is not reachable",
        ]
        assert len(self.lines(LogLevel.info)) == 1
        self.stop(pool)

    def test_waiting_during_an_outage_ends_in_time(self) -> None:
        """Who waits for a database that refuses gets a 503 that tells the log of the refusal."""
        pool = self.pool(0, 2)
        self.database.refuses = True
        borrower = self.borrow(pool)
        self.clock.pump([0.1] * 51)
        assert isinstance(borrower.error, ServiceUnavailable)
        assert "connection refused" in borrower.error.detail
        self.stop(pool)

    def test_waiting_during_a_short_outage_succeeds(self) -> None:
        """A database that comes back in time serves those who waited."""
        pool = self.pool(0, 2)
        self.database.refuses = True
        borrower = self.borrow(pool)
        self.clock.pump([0.1] * 10)
        self.database.refuses = False
        self.clock.pump([0.1] * 20)
        assert borrower.inside
        self.stop(pool)

    def test_attempts_at_once_are_limited(self) -> None:
        """However many wait, few connections are opened at the same time."""
        pool = self.pool(1, 20, max_waiting=50)
        self.database.hangs = True
        for _ in range(30):
            self.borrow(pool)
        assert len(self.database.pending) == pool.stats().connecting == 3
        self.database.hangs = False
        self.database.pending[0].callback(None)
        assert pool.stats().size > 2
        self.stop(pool)

    def test_server_that_hangs_up_at_once(self) -> None:
        """Connections that are lost as soon as they are made don't keep the process busy."""
        pool = self.pool()
        for _ in range(100):
            if self.database.open:
                self.database.open[0].lose()
            self.clock.advance(0.01)
        assert self.database.attempts < 20
        self.stop(pool)

    def test_error_that_is_no_database_error(self) -> None:
        """A fault in connecting is retried like a refusal, not lost."""
        pool = self.pool(0, 1)
        self.patch(pool._members, "_connect", _raise_type_error)
        self.borrow(pool)
        assert pool.stats().last_error == "a fault"
        self.stop(pool)


async def _raise_type_error() -> FakeConnection:
    raise TypeError("a fault")


class AgeTests(PoolTestCase):
    """Connections that are too old or too many."""

    def test_idle_connections_end_with_their_lifetime(self) -> None:
        """An idle connection is replaced between 90 and 100 % of its lifetime, and 15 s."""
        pool = self.pool()
        self.clock.pump([10.0] * 89)
        assert len(self.database.made) == 1
        self.clock.pump([10.0] * 13)
        assert len(self.database.made) == 2
        assert self.database.made[0].closed
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_borrowed_connection_ends_with_its_lifetime(self) -> None:
        """A connection that is too old when it comes back is closed and replaced."""
        pool = self.pool()
        borrower = self.borrow(pool)
        self.clock.advance(MAX_LIFETIME + 1)
        borrower.leave.callback(None)
        assert self.database.made[0].closed
        assert pool.stats().idle == 1
        self.stop(pool)

    def test_lifetimes_differ(self) -> None:
        """Connections opened together don't end together."""
        pool = self.pool(10, 10)
        assert len({member.expires_at for member in pool._members.idle}) == 10
        self.stop(pool)

    def test_surplus_ends(self) -> None:
        """Connections above the minimum that were idle for two minutes are closed."""
        pool = self.pool(1, 3)
        borrowers = [self.borrow(pool) for _ in range(3)]
        for borrower in borrowers:
            borrower.leave.callback(None)
        assert pool.stats().idle == 3
        self.clock.pump([10.0] * 11)
        assert pool.stats().idle == 3
        self.clock.pump([10.0] * 3)
        assert pool.stats().idle == len(self.database.open) == 1
        self.stop(pool)

    def test_old_connections_are_kept_in_an_outage(self) -> None:
        """No connection is closed for its age while new ones are refused."""
        pool = self.pool(2, 3)
        self.database.refuses = True
        self.clock.advance(2)
        self.database.made[0].lose()
        self.clock.pump([10.0] * 120)
        assert pool.stats().idle == 1
        self.stop(pool)


class StopTests(PoolTestCase):
    """The end."""

    def test_waiters_fail_at_once(self) -> None:
        """Who waits when the pool stops gets a 503, and no new attempt begins."""
        pool = self.pool(1, 1)
        self.borrow(pool)
        waiter = self.borrow(pool)
        begin(pool.stop())
        assert isinstance(waiter.error, ServiceUnavailable)
        self.clock.advance(2)
        assert self.clock.getDelayedCalls() == []

    def test_waits_for_borrowers(self) -> None:
        """Stop closes idle connections at once and ends when the last one came back."""
        pool = self.pool(2, 2)
        borrower = self.borrow(pool)
        stopping = begin(pool.stop(grace_secs=3))
        assert len(self.database.open) == 1
        self.clock.advance(2)
        self.assertNoResult(stopping)
        borrower.leave.callback(None)
        self.successResultOf(stopping)
        self.stop(pool)

    def test_wait_is_bounded(self) -> None:
        """Borrowed connections are closed when the time is over; their queries fail."""
        self.database.answers = False
        pool = self.pool(1, 1)
        query = begin(pool.fetch_all("Q"))
        stopping = begin(pool.stop(grace_secs=3))
        self.clock.advance(3.1)
        self.successResultOf(stopping)
        self.failureResultOf(query, psycopg2.OperationalError)
        self.stop(pool)

    def test_cancelled_stop_closes_all(self) -> None:
        """A stop whose time is over before its own grace is, leaves nothing open."""
        pool = self.pool(1, 1)
        self.borrow(pool)
        stopping = begin(pool.stop(grace_secs=3))
        stopping.cancel()
        self.failureResultOf(stopping, CancelledError)
        assert self.database.open == []
        assert self.clock.getDelayedCalls() == []

    def test_ends_attempts_and_recoveries(self) -> None:
        """Attempts to connect and clean-ups that are under way are cancelled."""
        pool = self.pool(1, 2)
        self.database.made[0].resetting = Deferred()
        self.borrow(pool, transaction=True).done.cancel()
        self.database.hangs = True
        self.borrow(pool)
        assert (pool.stats().recovering, pool.stats().connecting) == (1, 1)
        self.stop(pool)
        assert (pool.stats().recovering, pool.stats().connecting) == (0, 0)

    def test_twice(self) -> None:
        """Stopping twice is fine, also at the same time."""
        pool = self.pool(1, 1)
        borrower = self.borrow(pool)
        first, second = begin(pool.stop()), begin(pool.stop())
        borrower.leave.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.stop(pool)

    def test_connection_that_opens_too_late(self) -> None:
        """A connection that is opened against the cancel is closed."""
        pool = self.pool(0, 1)
        self.database.hangs = True
        self.borrow(pool)
        self.database.pending[0].cancel = lambda: None  # type: ignore[method-assign]
        begin(pool.stop())
        self.database.pending[0].callback(None)
        assert self.database.open == []
