"""PostgreSQL connection that opens, runs queries, cancels and closes without blocking the reactor.

:func:`connect` returns a :class:`Connection`. It is a txpostgres connection that waits for its
socket in another way, because in txpostgres

- cancelling a query blocks the process until the server responds, forever if the server is frozen;
- a connection that is lost while idle raises an exception out of the reactor's call;
- every query removes the socket from the reactor and adds it again.

Here the reactor watches the socket from beginning to end, through a duplicate descriptor. libpq
closes its own descriptor at any time; the kernel would then remove it from the reactor's set
unnoticed, and the next socket would get the same number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_WRITE,
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
)
from psycopg2.sql import Composable
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from txpostgres import txpostgres

from x121.config import DbConfig
from x121.db.adapters import register_adapters
from x121.db.composed import compose
from x121.db.connection_params import connection_params, hint, resolve
from x121.db.placeholders import Params, explain
from x121.db.session_state import changes_session
from x121.errors.sqlstates import ends_session

__all__ = ["Connection", "Params", "Query", "Reactor", "Result", "Row", "connect"]

T = TypeVar("T")
Query: TypeAlias = str | Composable
Row: TypeAlias = tuple[Any, ...]
Reactor: TypeAlias = Any  # IReactorTime, IReactorFDSet and IReactorThreads: no type has all

register_adapters()


_column_name = itemgetter(0)

_CANCEL_GRACE_SECS = 0.05
_CANCEL_SECS = 2.0
_CLIENT_CHECK_MS = 2_000
_CLIENT_CHECK_SINCE = 140_000


class Result(NamedTuple):
    """Rows of a statement (none for an INSERT), the number of rows affected, and column names."""

    rows: list[Row]
    rowcount: int
    columns: tuple[str, ...] = ()


class _Cursor(txpostgres.Cursor):  # type: ignore[misc]
    """Makes txpostgres' own methods (``runQuery``, ``runInteraction``) wait as this module does."""

    def _doit(self, name: str, *args: Any) -> Deferred[_Cursor]:
        try:
            getattr(self._cursor, name)(*args)
        except Exception:
            return defer.fail()
        waiting = self._connection._wait(self._cursor)
        return waiting.addCallback(lambda _: self)  # type: ignore[no-any-return]


class Connection(txpostgres.Connection):  # type: ignore[misc]
    """Open connection in autocommit mode; created by :func:`connect`.

    ``busy`` is true while a query runs, also after its caller has cancelled it. ``session_changed``
    is true after a statement such as SET, until :meth:`reset`. ``on_lost`` is called once, with the
    reason, when the connection ends without :meth:`close`, or is closed because its server can no
    longer serve it, for example because it became read-only.
    """

    cursorFactory = _Cursor
    without_log_prefix = True
    _connection: Any
    _pollingD: Deferred[Any] | None

    def __init__(self, config: DbConfig, *, reactor: Reactor) -> None:
        scheduler = Cooperator(scheduler=lambda call: reactor.callLater(0, call))
        super().__init__(reactor, scheduler)
        self.busy = False
        self.session_changed = False
        self.on_lost: Callable[[BaseException], None] | None = None
        self._config = config
        self._descriptor = -1
        self._established = False
        self._writing = False
        # psycopg2 holds the cursor weakly, and a caller that cancels may drop it.
        self._running: object = None
        self._sent: tuple[str, Params] | None = None
        self._when_ended: Deferred[None] | None = None

    @property
    def closed(self) -> bool:
        """True if the connection has ended, for any reason."""
        return self._connection is None or self._connection.closed != 0

    @property
    def is_clean(self) -> bool:
        """True if the next user can have the connection as it is: open, without any state."""
        return (
            not self.busy
            and not self.session_changed
            and self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE
        )

    @property
    def in_transaction(self) -> bool:
        """True if a transaction is open, a query runs, or the state is unknown."""
        status = self._connection.get_transaction_status()
        return bool(status != TRANSACTION_STATUS_IDLE)

    @property
    def transaction_failed(self) -> bool:
        """True if an error in the open transaction allows nothing but a rollback."""
        status = self._connection.get_transaction_status()
        return bool(status == TRANSACTION_STATUS_INERROR)

    # --- queries --------------------------------------------------------------------------

    def execute(self, query: Query, params: Params = ()) -> Deferred[Result]:
        """Return the result of ``query``; without ``params`` a ``%`` in it has no special meaning.

        Fails with a :class:`psycopg2.Error`, or with TypeError or ValueError if ``params`` don't
        match the placeholders. Cancelling the Deferred fails it with ``CancelledError`` at once,
        while the server goes on with the query: the connection stays ``busy`` and can't be used
        before :meth:`reset`.
        """
        try:
            cursor = self._connection.cursor()
            text = query if isinstance(query, str) else compose(query, self._connection)
        except psycopg2.Error:
            return defer.fail()
        if changes_session(text):
            self.session_changed = True
        try:
            # psycopg2 parses placeholders as soon as there are parameters, even an empty tuple.
            cursor.execute(text, params or None)
        except Exception:
            return defer.fail(explain(Failure(), text, params))
        self._sent = (text, params)
        return self._wait(cursor)

    async def reset(self) -> None:
        """Restore the connection to its initial state: no query, no transaction, no session state.

        Takes a few seconds at most. Raises if the server does not respond in that time or the
        connection is lost; the connection must then be closed.
        """
        if self.busy:
            await self._cancel_query()
        if self.in_transaction:
            await self._within(_CANCEL_SECS, self.execute("ROLLBACK"))
        if self.session_changed:
            await self._within(_CANCEL_SECS, self.execute("DISCARD ALL"))
            await self._within(_CANCEL_SECS, Deferred.fromCoroutine(_begin_session(self)))

    async def _cancel_query(self) -> None:
        """Cancel the running query, and wait until it has ended."""
        self._pollingD = None  # its caller has cancelled and must not be called
        # Most queries end by themselves before a second connection is open.
        ended = Deferred.fromCoroutine(self._ended())
        if await _true_within(_CANCEL_GRACE_SECS, ended, self.reactor):
            return
        # A cancel request names a process, not a query.  It reaches that process before its
        # response reaches us, so after both responses no request can hit the next query.
        await self._within(_CANCEL_SECS, Deferred.fromCoroutine(self._ask_to_cancel()))
        await self._within(_CANCEL_SECS, Deferred.fromCoroutine(self._ended()))

    async def _ask_to_cancel(self) -> None:
        # psycopg2's own cancel() blocks, even in a thread: it holds the interpreter lock.
        helper = await connect(
            self._config,
            reactor=self.reactor,
            statement_timeout_secs=_CANCEL_SECS,
            timeout_secs=_CANCEL_SECS,
        )
        try:
            if self.busy:
                pid = self._connection.info.backend_pid
                await helper.execute("SELECT pg_cancel_backend(%s)", (pid,))
        finally:
            helper.close()

    async def _ended(self) -> bool:
        if self.busy:
            self._when_ended = Deferred()
            await self._when_ended
        return True

    def _within(self, seconds: float, waiting: Deferred[T]) -> Deferred[T]:
        return waiting.addTimeout(seconds, self.reactor)

    # --- waiting for the server -------------------------------------------------------------

    def _wait(self, cursor: object) -> Deferred[Any]:
        """Return a Deferred that fires when the query that ``cursor`` has started ends."""
        self._running = cursor
        self.busy = True
        return self.poll()

    def poll(self) -> Deferred[Any]:
        """Return a Deferred that fires when psycopg2 has received what it waits for."""
        waiting: Deferred[Any] = Deferred(self._cancel)
        self._pollingD = waiting
        self.continuePolling()
        return waiting

    def continuePolling(self, swallowErrors: bool = False) -> None:  # noqa: N803
        """Read and write what the socket allows; fire the Deferred when psycopg2 is finished."""
        try:
            state = self._connection.poll()
            if not self._established:
                self._watch(state)
            elif self._writing or state == POLL_WRITE:
                self._write_when_possible(state == POLL_WRITE)
        except Exception as error:
            self._finish(error)
            return
        if state == POLL_OK:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        waiting, self._pollingD = self._pollingD, None
        cursor, self._running = self._running, None
        sent, self._sent = self._sent, None
        idle = not self.busy and self._established
        self.busy = False
        # No query is waiting for an error while idle.  A socket kept open would call endlessly.
        if error is not None and (idle or self.closed or _ends_session(error)):
            self.lose(error)
        elif self._connection.notifies:
            self.checkForNotifies()
        # Last, because the caller may start the next query at once.
        if waiting is not None:
            waiting.callback(_outcome(cursor, sent, error))
        if self._when_ended is not None:
            self._tell_ended()

    def _cancel(self, waiting: Deferred[Any]) -> None:
        """Release a caller that cancelled.  The query goes on."""
        self._pollingD = None

    def _tell_ended(self) -> None:
        if not self.busy and self._when_ended is not None:
            ended, self._when_ended = self._when_ended, None
            ended.callback(None)

    # --- the socket -------------------------------------------------------------------------

    def _watch(self, state: int) -> None:
        """Watch libpq's socket while it connects: at any step libpq may switch to a new socket."""
        self._unwatch()
        self._descriptor = os.dup(self._connection.fileno())
        self._established = state == POLL_OK
        if state == POLL_WRITE:
            self.reactor.addWriter(self)
            self._writing = True
        else:
            self.reactor.addReader(self)

    def _unwatch(self) -> None:
        if self._descriptor >= 0:
            self.reactor.removeReader(self)
            self.reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self._writing = False

    def _write_when_possible(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self.reactor.addWriter(self)
        elif not wanted:
            self.reactor.removeWriter(self)
        self._writing = wanted

    def fileno(self) -> int:
        """Return the descriptor that the reactor watches, or -1 if there is none."""
        return self._descriptor

    def doRead(self) -> None:
        """Continue when the socket is readable; called by the reactor."""
        if self._descriptor >= 0:
            self.continuePolling()

    doWrite = doRead

    def connectionLost(self, reason: Failure) -> None:
        """Close, because the socket has failed or the reactor stops; called by the reactor."""
        self.doRead()  # libpq may know the reason
        if self._descriptor >= 0:
            self._finish(psycopg2.OperationalError(f"connection lost: {reason.value}"))

    def close(self) -> None:
        """Close the connection at once; a running query fails.  May be called twice."""
        self._shut()
        waiting, self._pollingD = self._pollingD, None
        self.busy = False
        if waiting is not None:
            waiting.errback(Failure(psycopg2.OperationalError("the connection was closed")))
        self._tell_ended()

    def lose(self, error: BaseException) -> None:
        """Close the connection, on which no query runs, and call ``on_lost`` with the reason."""
        self._shut()
        if self._established and self.on_lost is not None:
            told, self.on_lost = self.on_lost, None
            told(error)

    def _shut(self) -> None:
        self._unwatch()
        if self._connection is not None and self._connection.closed != 1:
            self._connection.close()  # 2: psycopg2 considers it broken but not yet closed


def _ends_session(error: Exception) -> bool:
    return isinstance(error, psycopg2.Error) and ends_session(error.pgcode)


def _outcome(
    cursor: Any, sent: tuple[str, Params] | None, error: Exception | None
) -> Result | Failure | None:
    """Return what a Deferred fires with; ``sent`` is the query if its rows are to be fetched."""
    if error is not None:
        failure = Failure(error)
        return failure if sent is None else explain(failure, *sent)
    if sent is None:
        return None
    try:
        columns = cursor.description
        if columns is None:
            return Result([], cursor.rowcount)
        return Result(cursor.fetchall(), cursor.rowcount, tuple(map(_column_name, columns)))
    except Exception:  # a value that Python's types can't hold
        return Failure()


# --- connecting -----------------------------------------------------------------------------


async def connect(
    config: DbConfig,
    *,
    reactor: Reactor,
    statement_timeout_secs: float | None,
    timeout_secs: float,
) -> Connection:
    """Return a new connection to ``config.host``, at the first of its addresses that accepts one.

    ``statement_timeout_secs`` is the server's limit for each statement; None means no limit. Raises
    :class:`psycopg2.OperationalError`, which names host, port and reason, when no address accepts a
    connection within ``timeout_secs``. Leaves nothing half open, even if it is cancelled.
    """
    end = reactor.seconds() + timeout_secs
    reasons: list[str] = []
    try:
        addresses = await resolve(config, reactor).addTimeout(timeout_secs, reactor)
    except (OSError, UnicodeError, defer.TimeoutError) as error:
        addresses = []
        reasons.append(f"the name can't be resolved ({_reason(error, timeout_secs)})")
    for position, address in enumerate(addresses):
        # One address that drops packets must leave time for the others.
        share = max(0.0, end - reactor.seconds()) / (len(addresses) - position)
        connection = Connection(config, reactor=reactor)
        try:
            opening = _open(connection, connection_params(config, address, statement_timeout_secs))
            await Deferred.fromCoroutine(opening).addTimeout(share, reactor)
        except (psycopg2.Error, OSError, defer.TimeoutError) as error:
            where = f"{address}: " if len(addresses) > 1 else ""
            reasons.append(where + _reason(error, share))
        else:
            return connection
    place = f"{config.host}:{config.port}"
    raise psycopg2.OperationalError(f"no connection to PostgreSQL at {place}: {'; '.join(reasons)}")


async def _open(connection: Connection, settings: dict[str, str | int]) -> None:
    try:
        await connection.connect(**settings)
        await _begin_session(connection)
    except BaseException:
        connection.close()
        raise


async def _begin_session(connection: Connection) -> None:
    """Apply the settings that libpq can't send when it connects; mark the session unchanged."""
    if connection.server_version >= _CLIENT_CHECK_SINCE:
        await _have_client_checked(connection)
    connection.session_changed = False


async def _have_client_checked(connection: Connection) -> None:
    """Make the server cancel a query whose client has disconnected."""
    query = "SELECT set_config('client_connection_check_interval', %s, false)"
    try:
        await connection.execute(query, (str(_CLIENT_CHECK_MS),))
    except psycopg2.Error as error:
        if error.pgcode is None:
            raise
        # Some systems can't detect it, and their servers allow only 0: go on without.


async def _true_within(seconds: float, waiting: Deferred[bool], reactor: Reactor) -> bool:
    """Return the result, or False after ``seconds``."""
    try:
        return await waiting.addTimeout(seconds, reactor)
    except defer.TimeoutError:
        return False


def _reason(error: BaseException, seconds: float) -> str:
    """Return ``error`` on one line; libpq's texts have several lines, and advice after a tab."""
    if isinstance(error, defer.TimeoutError):
        return f"no response within {seconds:.2g} s"
    text = " ".join(str(error).split()) or type(error).__name__
    return text + hint(text)
