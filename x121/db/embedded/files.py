"""Files in a folder that may belong to somebody else, who must not make root touch other files.

As root the server works in the folder of the user that PostgreSQL runs as.  That user can put
anything there at any moment: symbolic and hard links, FIFOs that block whoever opens them, another
folder under the same name.  So everything is opened first, without following a link, and what was
opened is looked at, not its name.
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
# Without O_NONBLOCK a FIFO would keep us until somebody opens its other end.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_BYTES = 1 << 20
_EXPECTED = "a file of its folder's owner"


class ForeignFileError(OSError):
    """Something is not what the owner of its folder would have there; the text names it."""

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(f"{path} is not {expected}: remove it")


@contextmanager
def open_folder(path: Path | str, *, within: int | None = None) -> Iterator[int]:
    """Give a descriptor of the folder, whose last name is no link."""
    descriptor = os.open(path, _FOLDER, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def folder_and_parents(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield each folder on the way to ``path``, and that itself, with a descriptor.

    Each is opened in the one above, so that none can be exchanged for a link meanwhile.  That needs
    read permission for all of them, which root has.
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

    Raises :class:`ForeignFileError` where something else has its name, and :class:`OSError`.
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
    """Write a file, whole or not at all, that only the owner of its folder may read."""
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
    """Make an empty folder, which root has just made, somebody's."""
    with open_folder(path) as folder:
        if os.fstat(folder).st_uid != os.geteuid() or os.listdir(folder):
            raise ForeignFileError(path, "an empty folder of ours")
        os.fchown(folder, uid, gid)


def give_lock_file(path: Path, descriptor: int, uid: int, gid: int) -> None:
    """Make a lock file somebody's, if that gives away no more than an empty file.

    What is open may be a file of root's, under a second name that somebody gave it.
    """
    found = os.fstat(descriptor)
    is_empty_file = stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_nlink == 1
    if not is_empty_file or found.st_uid not in (os.geteuid(), uid):
        raise ForeignFileError(path, "an empty lock file")
    os.fchown(descriptor, uid, gid)
