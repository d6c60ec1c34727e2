"""``Pool.retry``: transactions that begin anew after a conflict."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from psycopg2 import errorcodes
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from tests.db.test_pool import PoolTestCase, begin
from x121.config import DbConfig
from x121.db.connection import Result
from x121.db.pool import Pool, Session
from x121.errors import as_app_error
from x121.testing.database import running_pool
from x121.testing.postgres import Postgres


class Refusal(psycopg2.OperationalError):
    """An error of the server; psycopg2 lets nobody else set its SQLSTATE."""

    pgcode = ""


def refusal(state: str = errorcodes.SERIALIZATION_FAILURE) -> Refusal:
    error = Refusal("refused")
    error.pgcode = state
    return error


class RetryTests(PoolTestCase):
    """The attempts, on a clock that stands still."""

    def setUp(self) -> None:
        super().setUp()
        self.errors: list[BaseException] = []
        self.runs = 0
        self.committed: list[int] = []

    async def work(self, session: Session) -> int:
        """Raise the next of ``errors``, or return how often this was run."""
        self.runs += 1
        number = self.runs
        session.on_commit(lambda: self.committed.append(number))
        await session.execute("INSERT")
        if self.errors:
            raise self.errors.pop(0)
        return number

    def begin(self, pool: Pool, attempts: int = 3) -> Deferred[int]:
        return begin(pool.retry(self.work, attempts=attempts))

    def test_no_conflict(self) -> None:
        """Work that succeeds runs once, without a delay."""
        pool = self.pool()
        self.assertEqual(self.successResultOf(self.begin(pool)), 1)
        self.assertEqual(self.database.made[0].log, ["BEGIN", "INSERT", "COMMIT"])
        self.stop(pool)

    def test_conflicts(self) -> None:
        """Each conflict costs an attempt, and only the one that is committed tells of it."""
        pool = self.pool()
        self.errors = [refusal(), refusal("40P01"), refusal("55P03")]
        running = self.begin(pool, attempts=4)
        for run in (1, 2, 3):
            self.assertNoResult(running)
            self.assertEqual((self.runs, pool.stats().in_use), (run, 0))
            self.clock.advance(1)
        self.assertEqual(self.successResultOf(running), 4)
        self.assertEqual(self.committed, [4])
        attempt = ["BEGIN", "INSERT"]
        self.assertEqual(
            self.database.made[0].log, [*[*attempt, "ROLLBACK"] * 3, *attempt, "COMMIT"]
        )
        self.stop(pool)

    def test_conflict_at_the_commit(self) -> None:
        """A COMMIT that is refused is a conflict, too."""
        pool = self.pool()
        connection = self.database.made[0]
        connection.failures["COMMIT"] = refusal()
        running = self.begin(pool)
        connection.failures.clear()
        self.clock.advance(1)
        self.assertEqual((self.successResultOf(running), self.committed), (2, [2]))
        self.stop(pool)

    def test_last_attempt(self) -> None:
        """The error of the last attempt is raised."""
        pool = self.pool()
        self.errors = [refusal(), refusal(), last := refusal()]
        running = self.begin(pool)
        self.clock.pump([1, 1, 1])
        self.assertIs(self.failureResultOf(running, Refusal).value, last)
        self.assertEqual(self.runs, 3)
        self.stop(pool)

    def test_other_errors(self) -> None:
        """Any other error is raised at once."""
        pool = self.pool()
        for error in (refusal("23505"), psycopg2.OperationalError("lost"), LookupError()):
            self.errors = [error]
            self.assertIs(self.failureResultOf(self.begin(pool), type(error)).value, error)
        self.assertEqual(self.runs, 3)
        self.stop(pool)

    def test_delays(self) -> None:
        """The delays double up to half a second, and are spread."""
        pool = self.pool()
        self.errors = [refusal() for _ in range(9)]
        running = self.begin(pool, attempts=10)
        delays = []
        while not running.called:
            # The other timer is the pool's, and far off.
            timer = min(self.clock.getDelayedCalls(), key=lambda call: call.getTime())
            delays.append(timer.getTime() - self.clock.seconds())
            self.clock.advance(delays[-1])
        self.successResultOf(running)
        for attempt, delay in enumerate(delays):
            expected = min(0.5, 0.01 * 2**attempt)
            self.assertTrue(0.5 * expected <= delay <= 1.5 * expected, delays)
        self.assertEqual(len({delay / 2**attempt for attempt, delay in enumerate(delays)}), 9)
        self.stop(pool)

    def test_cancelled_between_attempts(self) -> None:
        """Nothing runs, and nothing is left, once it is cancelled."""
        pool = self.pool()
        self.errors = [refusal()]
        running = self.begin(pool)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.clock.advance(10)
        self.assertEqual((self.runs, self.committed), (1, []))
        self.stop(pool)

    def test_cancelled_in_an_attempt(self) -> None:
        """A query that is cancelled isn't tried again."""
        pool = self.pool()
        connection = self.database.made[0]
        connection.slow.add("INSERT")
        running = self.begin(pool)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        connection.end(Result([], 1))
        self.assertEqual(self.runs, 1)
        self.stop(pool)

    def test_no_attempts(self) -> None:
        """Fewer attempts than one are a mistake."""
        pool = self.pool()
        self.failureResultOf(self.begin(pool, attempts=0), ValueError)
        self.stop(pool)


async def meet(pool: Pool, first: str, second: str, *, attempts: int) -> int:
    """Run two transactions that are both half done before either goes on; return the attempts."""
    met: Deferred[None] = Deferred()
    runs = arrived = 0

    async def work(session: Session, number: int) -> None:
        nonlocal runs, arrived
        runs += 1
        await session.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        await session.execute(first, (number,))
        arrived += 1
        if arrived == 2:
            met.callback(None)
        await met
        await session.execute(second, (1 - number,))

    both = [begin(pool.retry(partial(work, number=n), attempts=attempts)) for n in (0, 1)]
    results: list[tuple[bool, Any]] = await DeferredList(both, consumeErrors=True)
    for succeeded, result in results:
        if not succeeded:
            result.raiseException()
    return runs


READ = "SELECT sum(amount) FROM item WHERE id = %s"
WRITE = "UPDATE item SET amount = amount + 1 WHERE id = %s"


@pytest.fixture
def quick_deadlocks(postgres: Postgres, database: DbConfig) -> DbConfig:
    """Return a database where a deadlock is found at once, not after a second."""
    postgres.query(f"ALTER DATABASE {database.name} SET deadlock_timeout = '10ms'")
    return database


@pytest.mark.parametrize(
    ("first", "state"),
    [(READ, errorcodes.SERIALIZATION_FAILURE), (WRITE, errorcodes.DEADLOCK_DETECTED)],
)
@pytest_twisted.ensureDeferred
async def test_real_conflicts(quick_deadlocks: DbConfig, first: str, state: str) -> None:
    """Of two transactions that can't both be, one is tried again; else it is a conflict."""
    async with running_pool(quick_deadlocks) as pool:
        await pool.execute("CREATE TABLE item (id int PRIMARY KEY, amount int)")
        await pool.execute("INSERT INTO item VALUES (0, 0), (1, 0)")
        with pytest.raises(psycopg2.OperationalError) as caught:
            await meet(pool, first, WRITE, attempts=1)
        assert caught.value.pgcode == state
        assert as_app_error(caught.value).code == "CONFLICT"
        await pool.execute("UPDATE item SET amount = 0")
        assert await meet(pool, first, WRITE, attempts=5) > 2
        (total,) = await pool.fetch_one("SELECT sum(amount) FROM item")
        assert total == (4 if first == WRITE else 2)


@pytest_twisted.ensureDeferred
async def test_lock_that_is_not_free(database: DbConfig) -> None:
    """Work that doesn't wait for a lock is tried again until it is free."""
    async with running_pool(database) as pool:
        await pool.execute("CREATE TABLE item (id int)")
        async with pool.transaction() as holder:
            await holder.execute("LOCK TABLE item")
            with pytest.raises(psycopg2.errors.LockNotAvailable) as caught:
                await _lock(pool, attempts=1)
            assert as_app_error(caught.value).status == 503
            locked = begin(_lock(pool, attempts=100))
        await locked


async def _lock(pool: Pool, attempts: int) -> None:
    async def work(session: Session) -> None:
        await session.execute("LOCK TABLE item NOWAIT")

    await pool.retry(work, attempts=attempts)
