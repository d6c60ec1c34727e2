"""The PostgreSQL that every server uses, and what is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg2

from bench.processes import family_cpu_secs
from x121.config import DbConfig
from x121.testing.postgres import Postgres

__all__ = ["Database", "postgres"]

_ROWS = """
    CREATE TABLE bench_rows (id bigint PRIMARY KEY, title text NOT NULL);
    INSERT INTO bench_rows SELECT id, 'row ' || id FROM generate_series(1, 10000) AS id;
    ANALYZE bench_rows;
"""


@dataclass(frozen=True)
class Database:
    """A database of a PostgreSQL that runs."""

    config: DbConfig
    process: psutil.Process

    @property
    def url(self) -> str:
        """The address of the database, as libpq and asyncpg read it."""
        return _url(self.config)

    @property
    def cpu_secs(self) -> float:
        """The CPU time that PostgreSQL's processes have used so far."""
        return family_cpu_secs(self.process)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """Run a PostgreSQL, over TCP, with a table of rows."""
    server = Postgres()
    server.create(folder / "postgres")
    try:
        server.start()
        config = server.config(server.create_database())
        yield Database(config, _fill(config))
    finally:
        server.stop("immediate")


def _fill(config: DbConfig) -> psutil.Process:
    """Create the table, and return the parent of all of PostgreSQL's processes."""
    with contextlib.closing(psycopg2.connect(_url(config))) as connection, connection:
        connection.cursor().execute(_ROWS)
        return psutil.Process(connection.info.backend_pid).parent()


def _url(config: DbConfig) -> str:
    user = f"{quote(config.user)}:{quote(config.password)}"
    return f"postgresql://{user}@{config.host}:{config.port}/{config.name}"
