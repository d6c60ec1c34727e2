"""Data folder of the embedded PostgreSQL, and the lock that lets one process run a server on it.

All functions block on the file system: call them in a thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from x121.db.embedded.binaries import Account, EmbeddedPostgresError
from x121.db.embedded.credentials import Credentials
from x121.db.embedded.files import (
    ForeignFileError,
    give_folder,
    give_lock_file,
    read_file,
    replace_file,
)

__all__ = ["PORT", "Cluster", "Postmaster"]

PORT = 5432  # only part of the socket's name: no TCP port is opened
_SOCKET_NAME = f".s.PGSQL.{PORT}"
_MAX_SOCKET_PATH = 103  # bytes without the final NUL on macOS; Linux has 107
_LOG_NAME = "server.log"
_SOCKET_FOLDER_PREFIX = "x121-postgres-"


@dataclass(frozen=True)
class Postmaster:
    """Running server, as its ``postmaster.pid`` describes it."""

    pid: int
    socket_folder: str
    port: int
    ready: bool


class Cluster:
    """Data folder.  ``path`` is absolute and has no symbolic links."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.resolve()
        self.log_path = self.path / _LOG_NAME
        self.lock_path = self.path.with_name(self.path.name + ".lock")
        self.credentials = Credentials(self.path)
        self._lock: int | None = None

    # --- ownership ------------------------------------------------------------------------

    @property
    def owned(self) -> bool:
        """True while this process holds the lock: only the owner starts and stops the server."""
        return self._lock is not None

    def lock(self) -> bool:
        """Acquire the lock if it is free; return True if this process holds it now.

        It is a flock(2) on a file beside the folder. The lock ends with the process, however that
        ends, and child processes don't inherit it (PEP 446).
        """
        if self._lock is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as opened:
                descriptor = self._open_lock()
                opened.callback(os.close, descriptor)
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    opened.pop_all()
                    self._lock = descriptor
        return self.owned

    def _open_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.lock_path, flags, 0o600)
        except PermissionError:
            raise EmbeddedPostgresError(self._foreign(self.lock_path)) from None
        if os.geteuid() == 0 and self.path.exists():
            # The owner of the data must be able to start without root, too.
            owner = self.path.stat()
            try:
                give_lock_file(self.lock_path, descriptor, owner.st_uid, owner.st_gid)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def unlock(self) -> None:
        """Release the lock, if this process holds it."""
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    def running(self) -> Postmaster | None:
        """Return the server on this folder, which may still be starting or stopping.

        https://www.postgresql.org/docs/current/storage-file-layout.html names the file; its lines
        are those of ``miscadmin.h``: pid, data folder, start time, port, socket folder, first TCP
        address, shared memory, status.
        """
        try:
            text = read_file(self.path / "postmaster.pid").decode("utf-8", "surrogateescape")
            lines = text.split("\n")
            pid = int(lines[0])
        except (FileNotFoundError, NotADirectoryError, ForeignFileError):
            return None
        except PermissionError:
            raise EmbeddedPostgresError(self._foreign(self.path)) from None
        except ValueError:
            pid = 0  # it is being written
        if not self._is_alive(pid):
            return None
        try:
            ready = lines[7].strip() == "ready"
            return Postmaster(pid, lines[4], int(lines[3]), ready)
        except (IndexError, ValueError):
            return Postmaster(pid, "", 0, ready=False)

    def _is_alive(self, pid: int) -> bool:
        """Return True if ``pid`` is our server, and not another process that got its number."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        if not os.path.isdir("/proc/self"):
            return True
        # A postmaster's working directory is its data folder; a zombie has none.  Another user's
        # process may have the same one, and the folder's owner may have written its number.
        try:
            is_here = os.path.samefile(f"/proc/{pid}/cwd", self.path)
            return is_here and os.stat(f"/proc/{pid}").st_uid == self.path.stat().st_uid
        except OSError:
            return False

    def forget_stale_pids(self) -> None:
        """Make PostgreSQL see that the lock files of a crashed server are stale.

        Another process may have got the number in them, which is common when a container restarts,
        or a zombie may keep it; PostgreSQL would then refuse to start forever. It knows that the
        parent process of pg_ctl, which is this one, is not a server. The rest of the files stays,
        because PostgreSQL uses it to find children of the old server that still run.
        """
        if self.running() is None:
            for name in ("postmaster.pid", _SOCKET_NAME + ".lock"):
                with suppress(FileNotFoundError):
                    _, line_end, rest = read_file(self.path / name).partition(b"\n")
                    replace_file(self.path / name, str(os.getpid()).encode() + line_end + rest)

    # --- contents -------------------------------------------------------------------------

    def exists(self, major: int) -> bool:
        """Return True if there is a cluster of version ``major``; False if the folder is empty.

        Also False if the folder doesn't exist. Raises :class:`EmbeddedPostgresError` if it contains
        anything else.
        """
        try:
            names = set(os.listdir(self.path))
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise EmbeddedPostgresError(
                f"{self.path} is not a folder: change DB_DATA_DIR"
            ) from None
        except PermissionError:
            raise EmbeddedPostgresError(self._foreign(self.path)) from None
        if "PG_VERSION" in names:
            found = read_file(self.path / "PG_VERSION").decode("utf-8", "replace").strip()
            if found != str(major):
                raise EmbeddedPostgresError(
                    f"{self.path} has data of PostgreSQL {found}, and this is {major}: move the"
                    f" data with pg_dump from a server of version {found}, or set DB_DATA_DIR to"
                    " a new folder"
                )
            return True
        if names:
            raise EmbeddedPostgresError(
                f"{self.path} contains files that are not PostgreSQL data, such as"
                f" {min(names)!r}: set DB_DATA_DIR to a new folder"
            )
        if os.path.ismount(self.path):
            # PostgreSQL advises against it too, and a draft can't be renamed to it.
            # https://www.postgresql.org/docs/current/creating-cluster.html
            raise EmbeddedPostgresError(
                f"{self.path} is a mount point: set DB_DATA_DIR to a folder in it,"
                f" such as {self.path / 'data'}"
            )
        return False

    def make_draft(self, account: Account | None) -> Path:
        """Return an empty folder beside this one, for initdb to work in.

        A start that is killed leaves a draft, never half a cluster; the next start removes it.
        """
        self.remove_drafts()
        draft = Path(tempfile.mkdtemp(prefix=self._draft_prefix, dir=self.path.parent))
        _give(draft, account)
        return draft

    def accept(self, draft: Path) -> None:
        """Make a finished ``draft`` the cluster."""
        draft.rename(self.path)

    def remove_drafts(self) -> None:
        """Remove drafts of starts that were killed."""
        for draft in self.path.parent.glob(self._draft_prefix + "*"):
            shutil.rmtree(draft, ignore_errors=True)

    @property
    def _draft_prefix(self) -> str:
        return f".{self.path.name}.draft-"

    # --- the socket and the log -----------------------------------------------------------

    def make_socket_folder(self, account: Account | None) -> Path:
        """Return the folder for the socket, which is the data folder if its path is suitable.

        Otherwise it is a new private folder among the temporary ones.
        """
        path = str(self.path / _SOCKET_NAME)
        # libpq treats a comma in a host as a separator between several hosts.
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH and "," not in path:
            return self.path
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX)).resolve()
        _give(folder, account)
        return folder

    def remove_socket_folder(self, folder: str) -> None:
        """Remove the folder that :meth:`make_socket_folder` made outside the data folder.

        If this process took over the server, the name comes from ``postmaster.pid`` and may be
        anything.
        """
        with suppress(FileNotFoundError):
            is_ours = os.lstat(folder).st_uid == self.path.stat().st_uid
            if is_ours and Path(folder).name.startswith(_SOCKET_FOLDER_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)

    def turn_log(self) -> None:
        """Begin a new log, and keep the one before: it doesn't grow for ever."""
        with suppress(FileNotFoundError):
            self.log_path.rename(self.log_path.with_suffix(".log.old"))

    def log_tail(self) -> str:
        """Return the last lines of PostgreSQL's own log."""
        try:
            return read_file(self.log_path, last_bytes=2000).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _foreign(self, path: Path) -> str:
        whose = "another user"
        with suppress(OSError, KeyError):
            near = next(near for near in (self.path, path, *path.parents) if near.exists())
            whose = f"user {near.owner()}"
        return (
            f"no permission for {path}, where things belong to {whose}: start as root or as that"
            " user, or set DB_DATA_DIR to a folder of your own"
        )


def _give(folder: Path, account: Account | None) -> None:
    if account is not None:
        give_folder(folder, account.uid, account.gid)
