"""Where the numbers come from: a benchmark without its machine says nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["choose_cores", "describe"]

_PACKAGES = ("twisted", "klein", "orjson", "psycopg2-binary")


def choose_cores() -> tuple[int, int] | tuple[None, None]:
    """Return a core for the server and another for the load, if the machine lets us choose."""
    if shutil.which("taskset") is None or not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[-1], cores[0]) if len(cores) > 1 else (None, None)


def describe(wrk: str, cores: tuple[int | None, int | None]) -> list[str]:
    """Return lines on the machine, the versions, and how the two share the cores."""
    pinning = (
        "server and wrk share the cores" if None in cores else "one for the server, one for wrk"
    )
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average before: {load}",
        f"machine   {_cpu_model()}; {os.cpu_count()} cores, {pinning}",
        f"system    {platform.system()} {platform.release()}",
        f"versions  {python}, {packages}, {_wrk_version(wrk)}",
    ]


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


def _wrk_version(wrk: str) -> str:
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])
