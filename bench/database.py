"""The PostgreSQL that every server uses, and what is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2

from x121.config import DbConfig
from x121.testing.postgres import Postgres

__all__ = ["postgres", "url"]

_ROWS = """
    CREATE TABLE bench_rows (id bigint PRIMARY KEY, title text NOT NULL);
    INSERT INTO bench_rows SELECT id, 'row ' || id FROM generate_series(1, 10000) AS id;
    ANALYZE bench_rows;
"""


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[DbConfig]:
    """Run a PostgreSQL, over TCP, with a table of rows."""
    server = Postgres()
    server.create(folder / "postgres")
    try:
        server.start()
        config = server.config(server.create_database())
        _fill(config)
        yield config
    finally:
        server.stop("immediate")


def _fill(config: DbConfig) -> None:
    with contextlib.closing(psycopg2.connect(url(config))) as connection, connection:
        connection.cursor().execute(_ROWS)


def url(config: DbConfig) -> str:
    """Return what connects to the database, as libpq and asyncpg read it."""
    user = f"{quote(config.user)}:{quote(config.password)}"
    return f"postgresql://{user}@{config.host}:{config.port}/{config.name}"
