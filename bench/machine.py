"""Where the numbers come from: a benchmark without its machine says nothing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["choose_cores", "describe", "package_versions"]


def choose_cores() -> tuple[int, int] | tuple[None, None]:
    """Return a core for the server and another for the load, if the machine lets us choose."""
    if shutil.which("taskset") is None or not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[-1], cores[0]) if len(cores) > 1 else (None, None)


def describe(cores: tuple[int | None, int | None], load: str, versions: Iterable[str]) -> list[str]:
    """Return lines on the machine, the versions, and how server and ``load`` share the cores."""
    pinning = (
        f"server and {load} share the cores"
        if None in cores
        else f"one for the server, one for {load}"
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    average = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average before: {average}",
        f"machine   {_cpu_model()}; {os.cpu_count()} cores, {pinning}",
        f"system    {platform.system()} {platform.release()}",
        f"versions  {', '.join([python, *versions])}",
    ]


def package_versions(*names: str) -> list[str]:
    """Return each package's name and version."""
    return [f"{name} {_version(name)}" for name in names]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(none)"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
