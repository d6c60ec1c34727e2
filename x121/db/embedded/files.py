"""File operations in a folder whose owner must not be able to make root touch other files.

As root, the server works in the folder of the user that PostgreSQL runs as. That user can put
anything there at any moment: symbolic and hard links, FIFOs that block a process that opens them,
another folder under the same name. So each file is first opened, without following a link, and then
the checks are made on the descriptor, not on the name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "ForeignFileError",
    "folder_and_parents",
    "give_folder",
    "give_lock_file",
    "open_folder",
    "read_file",
    "replace_file",
]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO blocks until another process opens its other end.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_BYTES = 1 << 20
_EXPECTED = "a file of its folder's owner"


class ForeignFileError(OSError):
    """Raised when a file or folder is not what its folder's owner should have."""

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(f"{path} is not {expected}: remove it")


@contextmanager
def open_folder(path: Path | str, *, within: int | None = None) -> Iterator[int]:
    """Yield a descriptor of the folder; the last part of its path must not be a link."""
    descriptor = os.open(path, _FOLDER, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def folder_and_parents(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield each folder on the way to ``path``, and ``path`` itself, with a descriptor.

    Each is opened relative to its parent, so that none can be replaced by a link meanwhile. That
    needs read permission for all of them, which root has.
    """
    current, descriptor = Path(path.anchor), os.open(path.anchor, _FOLDER)
    try:
        yield current, descriptor
        for name in path.parts[1:]:
            current /= name
            above, descriptor = descriptor, os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(above)
            yield current, descriptor
    finally:
        os.close(descriptor)


def read_file(path: Path, *, last_bytes: int = _MAX_BYTES) -> bytes:
    """Return the end of a file that belongs to the owner of its folder.

    Raises :class:`ForeignFileError` if something else has its name, and :class:`OSError`.
    """
    with open_folder(path.parent) as folder:
        try:
            descriptor = os.open(path.name, _READ, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise ForeignFileError(path, _EXPECTED) from None
        with os.fdopen(descriptor, "rb") as file:
            found, owner = os.fstat(descriptor), os.fstat(folder).st_uid
            if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
                raise ForeignFileError(path, _EXPECTED)
            file.seek(max(0, found.st_size - last_bytes))
            return file.read(last_bytes)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically; only the owner of its folder may read it."""
    draft = f".{path.name}.draft"
    with open_folder(path.parent) as folder:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        descriptor = os.open(draft, _CREATE, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:
                owner = os.fstat(folder)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def give_folder(path: Path, uid: int, gid: int) -> None:
    """Change the owner of an empty folder that root has just made."""
    with open_folder(path) as folder:
        if os.fstat(folder).st_uid != os.geteuid() or os.listdir(folder):
            raise ForeignFileError(path, "an empty folder of ours")
        os.fchown(folder, uid, gid)


def give_lock_file(path: Path, descriptor: int, uid: int, gid: int) -> None:
    """Change the owner of a lock file, if it is no more than an empty file.

    The descriptor may be a file of root's, under a second name that another user gave it.
    """
    found = os.fstat(descriptor)
    is_empty_file = stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_nlink == 1
    if not is_empty_file or found.st_uid not in (os.geteuid(), uid):
        raise ForeignFileError(path, "an empty lock file")
    os.fchown(descriptor, uid, gid)
