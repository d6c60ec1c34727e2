"""Migration files: their folders, names and contents."""

from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable

__all__ = [
    "APPLICATION",
    "FRAMEWORK",
    "NO_TRANSACTION",
    "REVERT",
    "Migration",
    "MigrationError",
    "framework_migrations",
    "name_file",
    "read_migrations",
]

FRAMEWORK = "x121"
APPLICATION = "application"
# A version is recorded as PostgreSQL's integer, which can store any number of nine digits.
_NAME = re.compile(r"([0-9]{4}|[1-9][0-9]{4,8})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql")
NO_TRANSACTION = "-- x121: no-transaction"
REVERT = "-- x121: revert"


class MigrationError(Exception):
    """Raised when migrations can't be read or applied; the text names each file and the remedy."""


def name_file(source: str, version: int, name: str) -> str:
    """Return a file's name for messages; the application's own have no prefix."""
    file_name = f"{version:04d}_{name}.sql"
    return file_name if source == APPLICATION else f"{source}/{file_name}"


@dataclass(frozen=True)
class Migration:
    """File of a ``source``; each source has its own sequence of versions.

    ``sql``, and the text that ``checksum`` is computed from, have LF line ends and no byte order
    mark. ``checksum`` is a SHA-256 in hexadecimal.
    """

    version: int
    name: str
    sql: str
    checksum: str
    transactional: bool
    source: str = APPLICATION

    @property
    def key(self) -> tuple[str, int]:
        """Source and version."""
        return self.source, self.version

    @property
    def file_name(self) -> str:
        """Name of the file, for messages."""
        return name_file(self.source, self.version, self.name)

    @property
    def revert(self) -> str:
        """SQL that undoes it in development: the comments below ``-- x121: revert``."""
        lines = self.sql.partition(f"\n{REVERT}\n")[2].splitlines()
        return "\n".join(line.removeprefix("--").strip() for line in lines if line[:2] == "--")

    @classmethod
    def parse(cls, file_name: str, data: bytes, source: str = APPLICATION) -> Migration:
        """Return the migration in a file.  Raises :class:`MigrationError`."""
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
            raise MigrationError(f"{file_name}, line {line}: not UTF-8 text") from None
        if "\0" in text:
            raise MigrationError(
                f"{file_name}: contains a NUL character, which PostgreSQL does not accept"
            )
        sql = text.replace("\r\n", "\n")
        return cls(
            version=int(named[1]),
            name=named[2],
            sql=sql,
            checksum=hashlib.sha256(sql.encode()).hexdigest(),
            transactional=sql.partition("\n")[0].rstrip() != NO_TRANSACTION,
            source=source,
        )


def framework_migrations() -> list[Migration]:
    """Return the framework's own migrations, which are applied before an application's.

    Raises as :func:`read_migrations` does.
    """
    return read_migrations(importlib.resources.files("x121.db.migrations") / "sql", FRAMEWORK)


def read_migrations(folder: Traversable, source: str = APPLICATION) -> list[Migration]:
    """Return the migrations in ``folder``, by version.

    Every ``.sql`` file must be a migration. Other files are ignored, and so are names that begin
    with a dot, which editors and archives leave. Blocks on the file system: call it before the
    reactor runs, or in a thread. Raises one :class:`MigrationError` that lists everything wrong.
    """
    migrations = []
    problems = []
    for file in folder.iterdir():
        if file.name.lower().endswith(".sql") and not file.name.startswith("."):
            try:
                migrations.append(Migration.parse(file.name, file.read_bytes(), source))
            except MigrationError as error:
                problems.append(str(error))
    migrations.sort(key=lambda migration: (migration.version, migration.name))
    problems += _double_versions(migrations)
    if problems:
        raise MigrationError("\n".join(sorted(problems)))
    return migrations


def _double_versions(migrations: Sequence[Migration]) -> Iterable[str]:
    for first, second in itertools.pairwise(migrations):
        if first.version == second.version:
            yield (
                f"{first.file_name} and {second.file_name} have the same version: give the one"
                " that no database has yet the next free number"
            )
