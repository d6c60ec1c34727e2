"""A PgBouncer for tests: the real one, before a server of the tests, in a pool mode of choice."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from x121.config import DbConfig

__all__ = ["find_pgbouncer", "running_pgbouncer"]

_DEADLINE_SECS = 30.0
_POLL_SECS = 0.01
_SBIN = "/usr/sbin:/usr/local/sbin"  # where Debian has it, which is not in everybody's PATH


def find_pgbouncer() -> str | None:
    """Return the program, or None where it is missing."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{_SBIN}")


@contextmanager
def running_pgbouncer(
    program: str, folder: Path, server: DbConfig, port: int, **settings: str
) -> Iterator[DbConfig]:
    """Run it in ``folder`` and give what connects through it to the database of ``server``.

    ``settings`` are lines of its ``pgbouncer.ini``.
    """
    account = _account()
    _write(folder, server, port, settings, account)
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **account,
        )
    try:
        config = dataclasses.replace(server, host=server.host, port=port)
        _wait_until_it_answers(config, process, log)
        yield config
    finally:
        process.terminate()
        process.wait(_DEADLINE_SECS)


def _account() -> dict[str, Any]:
    """Return as whom it runs: like PostgreSQL it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _write(
    folder: Path, server: DbConfig, port: int, settings: dict[str, str], account: dict[str, Any]
) -> None:
    lines = {
        "listen_addr": server.host,
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "users"),
        **settings,
    }
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items())
    )
    (folder / "users").write_text(f'"{server.user}" "{server.password}"\n')
    for path in (folder, folder / "pgbouncer.ini", folder / "users"):
        path.chmod(0o700 if path is folder else 0o600)
        if account:
            os.chown(path, account["user"], account["group"])


def _wait_until_it_answers(config: DbConfig, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_SECS
    while True:
        try:
            psycopg2.connect(
                host=config.host,
                port=config.port,
                dbname=config.name,
                user=config.user,
                password=config.password,
            ).close()
        except psycopg2.OperationalError as error:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer: {error}{log.read_text()}") from error
            time.sleep(_POLL_SECS)
        else:
            return
