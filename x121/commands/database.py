"""Runs commands that need the database; an embedded one runs only as long as the command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import react

from x121.config import DbConfig
from x121.core.clocks import use_monotonic_clock
from x121.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from x121.db.migrations import MigrationError
from x121.runtime.signals import Exit, Signals

__all__ = ["run_with_database"]

Work = Callable[[Any, DbConfig], Awaitable[None]]


def run_with_database(db: DbConfig, work: Work, *, interrupted: str) -> None:
    """Run ``work(reactor, db)`` on a reactor, with a running database, and exit.

    The exit code is 1, with one message, if the database can't be used or a signal arrives;
    ``interrupted`` is the message for a signal.
    """
    react(_begin, (db, work, interrupted))


def _begin(reactor: Any, db: DbConfig, work: Work, interrupted: str) -> Deferred[None]:
    use_monotonic_clock(reactor)
    embedded = EmbeddedPostgres(db, reactor=reactor) if not db.host else None
    running = ensureDeferred(_run(reactor, db, work, embedded, interrupted))

    def undo() -> Deferred[None]:
        running.cancel()
        return running

    # A signal stops the reactor, which waits until an embedded PostgreSQL has stopped.
    reactor.addSystemEventTrigger("before", "shutdown", undo)
    process_exit = Exit(before_exit=embedded.interrupt if embedded else lambda: None)
    reactor.callWhenRunning(Signals(reactor, process_exit, reopen_log=lambda _: None).install)
    return running


async def _run(
    reactor: Any, db: DbConfig, work: Work, embedded: EmbeddedPostgres | None, interrupted: str
) -> None:
    try:
        await work(reactor, db if embedded is None else await embedded.start())
    except (MigrationError, EmbeddedPostgresError) as error:
        raise SystemExit(f"x121: {error}") from None
    except CancelledError:
        raise SystemExit(f"x121: {interrupted}") from None
    finally:
        if embedded is not None:
            await embedded.stop()
