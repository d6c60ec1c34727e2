"""Handling of twistd's PID file, so that a stale one doesn't prevent a start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["PidFileError", "prepare_pid_file"]


class PidFileError(Exception):
    """Raised when the PID file can't be written; the text has the path and the remedy."""


def prepare_pid_file(twistd: Any, *, in_background: bool) -> None:
    """Set the PID file in ``twistd``'s options, and remove a stale one.

    In the foreground there is no PID file, unless the command line names one. Raises
    :class:`PidFileError` where twistd would end with a traceback.
    """
    # Compared by identity, because the command line may name the default, too.
    if not in_background and twistd["pidfile"] is twistd.defaults["pidfile"]:
        twistd["pidfile"] = ""
    if not twistd["pidfile"] or twistd["chroot"]:  # in another folder it is another file
        return
    path = Path(twistd["pidfile"]).absolute()
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PidFileError(
            f"cannot write the PID file {path}: name another with --pidfile=PATH, or none with"
            " --pidfile="
        )
    if _is_stale(path):
        path.unlink()


def _is_stale(path: Path) -> bool:
    """Return True if the process that ``path`` names isn't the one that wrote it.

    twistd itself accepts any process with that number as a running server. In a container it is
    often the new server's own number, and after a crash of the machine it may be any process's.
    """
    with suppress(OSError, ValueError):  # no file, or one that twistd reports as invalid
        pid = int(path.read_text())
        return pid == os.getpid() or b"twistd" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
