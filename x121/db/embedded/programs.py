"""Runs PostgreSQL's programs without blocking the reactor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from x121.db.embedded.binaries import Account, EmbeddedPostgresError
from x121.db.threads import in_thread

__all__ = ["Programs"]

# Not our own environment: PGDATA, PGPORT and others would override our options, and DB_PASSWORD
# must not leak.  LC_ALL keeps messages in English, and initdb from using the system's locale.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class Programs:
    """Programs in ``folder``, run as ``account``, one at a time.

    They run under :mod:`subprocess` in a thread, not under ``spawnProcess``. To change the user,
    ``spawnProcess`` forks Python itself, which may deadlock with threads and gives a warning from
    Python 3.12 on; and it relies on the reactor handling SIGCHLD.
    """

    def __init__(self, folder: Path, account: Account | None, *, reactor: Any) -> None:
        self.folder = folder
        self.account = account
        self._reactor = reactor
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False

    async def run(
        self, name: str, *arguments: str, cwd: Path = Path("/"), data_dir: Path | None = None
    ) -> str:
        """Return the program's output.

        Raises :class:`EmbeddedPostgresError` with the output if it failed. Cancelling ends the
        program.
        """
        command = [str(self.folder / name), *arguments]
        environment = dict(_ENVIRONMENT)
        if data_dir is not None:
            environment["PGDATA"] = str(data_dir)
        output, code = await in_thread(
            self._reactor, self._run, command, cwd, environment, on_cancel=self.terminate
        )
        if code != 0:
            raise EmbeddedPostgresError(f"{name} failed ({code}): {output.strip()}")
        return output

    def terminate(self) -> None:
        """End a running program, and start no more."""
        self._ended = True
        if self._child is not None:
            self._child.terminate()

    def _run(self, command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[str, int]:
        options: dict[str, Any] = {}
        if self.account is not None:
            groups = sorted(self.account.groups)
            options = {
                "user": self.account.uid,
                "group": self.account.gid,
                "extra_groups": groups,
            }
        with subprocess.Popen(  # noqa: S603  (our own program, and no shell)
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        ) as child:
            self._child = child
            if self._ended:
                child.terminate()
            output, _ = child.communicate()
        self._child = None
        return output.decode("utf-8", "replace"), child.returncode
