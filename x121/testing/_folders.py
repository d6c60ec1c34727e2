"""Folders for the files of test servers: on a fast file system, and always removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["private_folder"]

# A database is some 300 files: copying them takes 7 ms in memory, and 70 on a busy disk.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # tmpfs(5); each server has its own folder there
_ENOUGH_BYTES = 1 << 30
_PREFIX = "x121-test-"
_LOCK = "lock"
_NEW_SECS = 60


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a folder that is locked while it is in use, and removed afterwards."""
    # Not pytest's tmp_path: its parents are private to the user who runs pytest, and PostgreSQL may
    # run as another one.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_fast_folder()) as name:
        folder = Path(name)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _remove_abandoned(folder)
            yield folder


def _remove_abandoned(ours: Path) -> None:
    """Remove the folders of tests that were killed, because they may be in memory."""
    for lock_path in ours.parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # locked, another user's, or removed already
            folder = lock_path.parent
            is_new = ours.stat().st_mtime - folder.stat().st_mtime < _NEW_SECS
            if is_new:  # may be about to be locked
                continue
            with lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _fast_folder() -> str:
    """Return a folder on a fast file system for temporary files."""
    if "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK):
        return tempfile.gettempdir()
    has_room = shutil.disk_usage(_IN_MEMORY).free > _ENOUGH_BYTES
    return str(_IN_MEMORY) if has_room else tempfile.gettempdir()
