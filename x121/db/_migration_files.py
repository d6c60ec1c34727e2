"""The migrations as files: where they are, how they are named, and what is in them."""

from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["NO_TRANSACTION", "Migration", "MigrationError", "read_migrations"]

_PACKAGE = "x121.migrations"
# PostgreSQL's integer, the type of a recorded version, holds any number of nine digits.
_NAME = re.compile(r"([0-9]{4}|[1-9][0-9]{4,8})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql")
NO_TRANSACTION = "-- x121: no-transaction"


class MigrationError(Exception):
    """Migrations can't be read or applied; the text names each file and says what to do."""


@dataclass(frozen=True)
class Migration:
    """One file.  ``sql`` has LF line ends and no byte order mark, and so has what
    ``checksum``, a SHA-256 in hexadecimal, is made of.
    """

    version: int
    name: str
    sql: str
    checksum: str
    transactional: bool

    @property
    def file_name(self) -> str:
        """Return the name of the file it comes from."""
        return f"{self.version:04d}_{self.name}.sql"

    @classmethod
    def parse(cls, file_name: str, data: bytes) -> Migration:
        """Return the migration that a file is.  Raises :class:`MigrationError`."""
        named = _NAME.fullmatch(file_name)
        if named is None:
            raise MigrationError(
                f"{file_name}: a migration's name is NNNN_name.sql: a version of four digits (or,"
                " above 9999, of up to nine), an underscore, then lower case letters, digits and"
                " single underscores, such as 0007_add_users.sql"
            )
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise MigrationError(f"{file_name}, line {line}: this is not UTF-8") from None
        if "\0" in text:
            raise MigrationError(f"{file_name}: a NUL character, which PostgreSQL does not take")
        sql = text.replace("\r\n", "\n")
        return cls(
            version=int(named[1]),
            name=named[2],
            sql=sql,
            checksum=hashlib.sha256(sql.encode()).hexdigest(),
            transactional=sql.partition("\n")[0].rstrip() != NO_TRANSACTION,
        )


def read_migrations(folder: Traversable | None = None) -> list[Migration]:
    """Return the migrations in ``folder``, by version; without one, those of this program.

    Every ``.sql`` file must be a migration; other files are ignored, and so are names that
    begin with a dot, which editors and archives leave.  Reads files: call it before the reactor
    runs or in a thread.  Raises one :class:`MigrationError` for everything that is wrong.
    """
    migrations = []
    problems = []
    for file in _home() if folder is None else folder.iterdir():
        if file.name.lower().endswith(".sql") and not file.name.startswith("."):
            try:
                migrations.append(Migration.parse(file.name, file.read_bytes()))
            except MigrationError as error:
                problems.append(str(error))
    migrations.sort(key=lambda migration: (migration.version, migration.name))
    problems += _double_versions(migrations)
    if problems:
        raise MigrationError("\n".join(sorted(problems)))
    return migrations


def _home() -> Iterable[Traversable]:
    try:
        return importlib.resources.files(_PACKAGE).iterdir()
    except ModuleNotFoundError:
        # A checkout that is not installed: there the folder is at the top, beside x121.
        return (Path(__file__).resolve().parents[2] / "migrations").iterdir()


def _double_versions(migrations: Sequence[Migration]) -> Iterable[str]:
    for first, second in itertools.pairwise(migrations):
        if first.version == second.version:
            yield (
                f"{first.file_name} and {second.file_name} have the same version: give the one"
                " that no database has yet the next free number"
            )
