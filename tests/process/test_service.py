"""The server under those who start it unattended: twistd in the background, and systemd."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg2
import pytest

from tests.process.conftest import Serve
from tests.process.server import (
    DEADLINE_SECS,
    HOST,
    Answer,
    database_environ,
    wait_until,
)
from x121.config import DbConfig


def test_background(serve: Serve, folder: Path, embedded: dict[str, str], free_port: int) -> None:
    """In the background it answers and logs to a file; its PID file goes when it ends.

    Both files are where twistd was started, and only the server works in the ``--rundir``.
    """
    (folder / "run").mkdir()
    parent = serve(embedded, twistd=("--rundir=run",))
    assert parent.wait() == 0
    assert (parent.raw, parent.errors) == ([], [])
    pid = int((folder / "twistd.pid").read_text())
    log = folder / "twistd.log"
    wait_until(lambda: "Server listening" in log.read_text(), "the start")
    port = json.loads(log.read_text().splitlines()[-1])["port"]
    connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE_SECS)
    connection.request("GET", "/health/ready")
    assert Answer.read(connection).status == 200
    connection.close()
    assert Path(psutil.Process(pid).cwd()) == folder / "run"
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(pid), "the end")
    assert '"requests_drained":0' in log.read_text().splitlines()[-1]
    assert not (folder / "twistd.pid").exists()
    assert parent.left_behind == []


def test_no_pid_file(serve: Serve, folder: Path, database: DbConfig) -> None:
    """In the foreground there is no PID file, which a container would find at its next start."""
    server = serve(database_environ(database), twistd=("-n",))
    assert server.get("/health").status == 200
    assert not (folder / "twistd.pid").exists()
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert serve(database_environ(database), twistd=("-n",)).get("/health").status == 200


def test_pid_file(serve: Serve, folder: Path, database: DbConfig) -> None:
    """One that the command line names is written, also where it has the usual name."""
    server = serve(database_environ(database), twistd=("-n", "--pidfile=twistd.pid"))
    assert server.port
    assert (folder / "twistd.pid").read_text() == str(server.pid)
    other = serve(database_environ(database), twistd=("-n", "--pidfile=twistd.pid"))
    assert other.wait() == 1
    assert b"Another twistd server is running" in b"".join(other.errors)
    assert server.stop() == 0
    assert not (folder / "twistd.pid").exists()


LEAVE_FILE = "import os, pathlib; pathlib.Path('twistd.pid').write_text(str(os.getpid()))"
LEFT_BY_NAMESAKE = ("-c", f"{LEAVE_FILE}\nfrom twisted.scripts.twistd import run\nrun()")


def test_stale_pid_file(serve: Serve, folder: Path, database: DbConfig) -> None:
    """A PID file from before stops no start, whether the server has its number now, or a stranger.

    The first is usual in a container, whose server is process 1 every time.
    """
    environ, twistd = database_environ(database), ("-n", "--pidfile=twistd.pid")
    server = serve(environ, program=LEFT_BY_NAMESAKE, twistd=twistd)
    assert server.get("/health").status == 200
    assert server.stop() == 0
    with subprocess.Popen(["sleep", "600"]) as stranger:
        (folder / "twistd.pid").write_text(str(stranger.pid))
        assert serve(environ, twistd=twistd).get("/health").status == 200
        stranger.kill()


@pytest.mark.parametrize("twistd", [("-n", "--pidfile=no/pid"), ("--pidfile=no/pid",)])
def test_pid_file_that_cannot_be_written(serve: Serve, folder: Path, twistd: tuple[str]) -> None:
    """A PID file in a folder that isn't there, or is read-only, ends the start with one line."""
    server = serve({}, twistd=twistd)
    assert server.wait() == 1
    (line,) = server.errors
    message = json.loads(line)["message"]
    assert message.startswith(f"x121: cannot write the PID file {folder}/no/pid: ")
    assert server.raw == []


def test_systemd(serve: Serve, folder: Path, database: DbConfig) -> None:
    """systemd hears of the start, of a reactor that turns, and of the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE_SECS)
        manager.bind(str(folder / "notify"))
        environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000"}
        server = serve(database_environ(database) | environ, trials=True)
        told = [manager.recv(4096) for _ in range(6)]
        assert told[:2] == [b"EXTEND_TIMEOUT_USEC=60000000", b"STATUS=Connecting to the database"]
        assert told[2:] == [b"READY=1\nSTATUS=Serving"] + [b"WATCHDOG=1"] * 3
        assert server.get("/health/ready").status == 200
        held = server.send("/trials/hold")
        server.wait_for("Trial begun")
        server.send_signal(signal.SIGTERM)
        while not manager.recv(4096).startswith(b"STOPPING=1"):
            pass
        assert manager.recv(4096).startswith(b"EXTEND_TIMEOUT_USEC=")
        assert manager.recv(4096) == b"WATCHDOG=1", "a long drain isn't a hang"
        (folder / "release").touch()
        assert Answer.read(held).status == 200
        assert server.wait() == 0


def test_systemd_waits_for_migrations(serve: Serve, folder: Path, empty_database: DbConfig) -> None:
    """While another start migrates systemd is asked for time, and told what is waited for."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        closing(
            psycopg2.connect(
                host=empty_database.host,
                port=empty_database.port,
                dbname=empty_database.name,
                user=empty_database.user,
                password=empty_database.password,
            )
        ) as other,
    ):
        manager.settimeout(DEADLINE_SECS)
        manager.bind(str(folder / "notify"))
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(2016490033)")
        environ = {"NOTIFY_SOCKET": str(folder / "notify")}
        server = serve(database_environ(empty_database) | environ)
        told = [manager.recv(4096) for _ in range(3)]
        assert told[0] == b"EXTEND_TIMEOUT_USEC=60000000"
        assert told[2].startswith(b"STATUS=Another process holds the migration lock (PostgreSQL's")
        server.wait_for("Another process holds the migration lock")
        other.close()
        told = list(iter(lambda: manager.recv(4096), b"READY=1\nSTATUS=Serving"))
        assert b"STATUS=Applying x121/0001_set_updated_at.sql" in told
        assert server.stop() == 0
