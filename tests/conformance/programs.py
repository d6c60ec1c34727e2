"""Programs that are run within a deadline, and ended with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Deadline", "TooLate", "run", "said", "say"]

_POLL_SECS = 0.05


class TooLate(Exception):
    """The deadline came before the end of a program."""


class Deadline:
    """When everything has to be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def is_finished(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._end


def say(text: str) -> None:
    """Print ``text`` at once, also where nobody watches."""
    print(text, flush=True)  # noqa: T201  # this is a program, not a test


def said(log: Path, lines: int = 15) -> str:
    """Return the end of what a program said."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    deadline: Deadline,
    environ: Mapping[str, str] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> int:
    """Return the exit code of ``command``, which runs in the folder of ``log`` and writes there.

    Its environment is ours without what is meant for our own Python, and ``environ``.
    ``meanwhile`` is called again and again.  Raises :class:`TooLate`.
    """
    with _running(command, log, {**_environ(), **(environ or {})}) as process:
        while (code := process.poll()) is None:
            if deadline.is_finished:
                raise TooLate(f"not done within {deadline.seconds:g} s")
            meanwhile()
            time.sleep(_POLL_SECS)
    return code


@contextmanager
def _running(
    command: Sequence[str | Path], log: Path, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C is for us, and what it starts can be ended with it
        )
    try:
        yield process
    finally:
        # Once its end was seen, the id may be another's.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
