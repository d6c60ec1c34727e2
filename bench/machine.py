"""Where the numbers come from: a benchmark without its machine says nothing."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

__all__ = ["Cores", "choose_cores", "describe", "file_name", "package_versions"]


@dataclass(frozen=True)
class Cores:
    """The core for the server and the one for everything else; None if they can't be chosen."""

    server: int | None = None
    load: int | None = None

    def leave_server_alone(self) -> None:
        """Move this process, and with it what it will start, to the core for everything else."""
        if self.load is not None:
            os.sched_setaffinity(0, {self.load})


def choose_cores() -> Cores:
    """Return two cores, if the machine has them and lets us choose."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores()
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[-1], cores[0]) if len(cores) > 1 else Cores()


def describe(cores: Cores, load: str, versions: Iterable[str]) -> list[str]:
    """Return lines on the machine, the versions, and how server and ``load`` share the cores."""
    pinning = (
        f"server and {load} SHARE what there is: read the CPU columns alone"
        if cores.server is None
        else f"one for the server, one for {load}"
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    average = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"date      {_now():%Y-%m-%d %H:%M} UTC; load average before: {average}",
        f"machine   {_cpu_model()}; {os.cpu_count()} cores, {pinning}",
        f"system    {platform.system()} {platform.release()}",
        *(f"versions  {line}" for line in (python, *versions)),
    ]


def file_name() -> str:
    """Return the date and the machine, as the name of a file."""
    model = re.sub(r"\(.*?\)|@.*|\bprocessor\b|\bcpu\b", " ", _cpu_model().lower())
    return f"{_now():%Y-%m-%d}-{re.sub(r'[^a-z0-9]+', '-', model).strip('-')}.md"


def package_versions(names: Sequence[str], venv: Path | None = None) -> str:
    """Return each package's name and version, in this environment or in ``venv``."""
    path = [] if venv is None else [str(one) for one in venv.glob("lib/python*/site-packages")]
    found = distributions() if venv is None else distributions(path=path)
    versions = {one.metadata["Name"].lower(): one.version for one in found}
    return ", ".join(f"{name} {versions.get(name, '(none)')}" for name in names)


def _now() -> datetime:
    return datetime.now(UTC)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
