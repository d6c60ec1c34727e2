"""Runs PostgreSQL's programs without blocking the reactor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from x121.db.embedded.binaries import Account, EmbeddedPostgresError
from x121.db.threads import in_thread

__all__ = ["Programs"]

# Not our own environment: PGDATA, PGPORT and their like would overrule us, and DB_PASSWORD is
# nobody's business.  LC_ALL keeps messages in English and initdb from asking the system.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class Programs:
    """The programs in ``folder``, run as ``account``, one at a time.

    They run under :mod:`subprocess` in a thread, not under ``spawnProcess``: that forks
    Python itself where a user is to be changed, which with threads may deadlock and from Python
    3.12 on warns, and it relies on the reactor being told of SIGCHLD.
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
        """Return what the program printed.

        Raises :class:`EmbeddedPostgresError` with that text if it failed.  Cancelling ends it.
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
        """End a running program, and start none again."""
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
