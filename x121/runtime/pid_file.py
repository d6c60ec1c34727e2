"""twistd's PID file, which must not keep a server from starting."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["PidFileError", "prepare_pid_file"]


class PidFileError(Exception):
    """The PID file can't be written; the text says where, and what to do."""


def prepare_pid_file(twistd: Any, *, in_background: bool) -> None:
    """Change ``twistd``'s options to the PID file to write, and remove one that is stale.

    In the foreground there is none, unless the command line names one.  Raises
    :class:`PidFileError` where twistd would end with a traceback.
    """
    # By identity: the command line may name the default, too.
    if not in_background and twistd["pidfile"] is twistd.defaults["pidfile"]:
        twistd["pidfile"] = ""
    if not twistd["pidfile"] or twistd["chroot"]:  # there it is another file
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
    """Return whether the process that ``path`` names isn't the one that wrote it.

    twistd itself takes any process of that number for a server: in a container it is often the
    new server's own, and after a crash of the machine it may be anybody's.
    """
    with suppress(OSError, ValueError):  # no file, or one that twistd complains of
        pid = int(path.read_text())
        return pid == os.getpid() or b"twistd" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
